//! The network between the managers: late, lossy, cut in one direction or both, and now and then delivering twice what
//! was sent once. Messages pass each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::BoxFuture;
use muster_manager::{
    Outside,
    raft::{
        inbox::{Inbox, InboxError},
        promise::{self, Promise},
        transport::{Call, Chunks, Target, Transport, TransportError},
    },
};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{chance::Chance, gate::Process, invariants::Invariants, trace::Trace};

/// After which a connection without an answer is given up.
const SILENCE_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Network(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    chance: Chance,
    trace: Trace,
    hosts: BTreeMap<u64, Port>,
    /// From, to: what is sent that way is lost.
    cut: BTreeSet<(u64, u64)>,
    weather: Weather,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    pub loss_permille: u64,
    pub twice_permille: u64,
    pub delay_ms_max: u64,
}

impl Weather {
    pub const FAIR: Self = Self { loss_permille: 0, twice_permille: 0, delay_ms_max: 3 };
}

/// Where a host takes messages in.
#[derive(Clone, Debug)]
pub struct Port {
    pub raft_id: u64,
    pub life: u64,
    pub inbox: Inbox,
    pub outside: Outside,
    pub process: Arc<Process>,
    pub invariants: Invariants,
}

/// What becomes of a message.
enum Fate {
    Arrives { after: Duration, again: Option<Duration> },
    Lost,
}

type Answer = Result<Vec<u8>, TransportError>;

impl Network {
    #[must_use]
    pub fn new(chance: Chance, trace: Trace) -> Self {
        let inner = Inner { chance, trace, hosts: BTreeMap::new(), cut: BTreeSet::new(), weather: Weather::FAIR };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub fn attach(&self, port: Port) {
        self.inner().hosts.insert(port.raft_id, port);
    }

    pub fn detach(&self, raft_id: u64) {
        self.inner().hosts.remove(&raft_id);
    }

    pub fn set_weather(&self, weather: Weather) {
        self.inner().weather = weather;
    }

    pub fn cut(&self, from: u64, to: u64) {
        self.inner().cut.insert((from, to));
    }

    pub fn mend(&self) {
        self.inner().cut.clear();
    }

    #[must_use]
    pub fn transport(&self, from: u64) -> Arc<dyn Transport> {
        Arc::new(Wire { network: self.clone(), from })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trace(&self) -> Trace {
        self.inner().trace.clone()
    }

    fn fate(&self) -> Fate {
        let Inner { chance, weather, .. } = &*self.inner();
        if chance.permille(weather.loss_permille) {
            return Fate::Lost;
        }
        let late = || Duration::from_micros(chance.within(200..1_000 * weather.delay_ms_max.max(1)));
        let again = chance.permille(weather.twice_permille).then(|| late() + late());
        Fate::Arrives { after: late(), again }
    }

    /// The host as it is when the message gets there. None: it is lost on the way.
    fn reach(&self, from: u64, to: u64, what: &str) -> Option<Result<Port, TransportError>> {
        let inner = self.inner();
        if inner.cut.contains(&(from, to)) {
            inner.trace.detail(format_args!("{from} > {to} {what}: cut"));
            return None;
        }
        let port = inner.hosts.get(&to).cloned();
        inner.trace.detail(format_args!("{from} > {to} {what}{}", if port.is_none() { ": nobody" } else { "" }));
        Some(port.ok_or_else(|| TransportError::Unreachable("connection refused".into())))
    }
}

#[derive(Debug)]
struct Wire {
    network: Network,
    from: u64,
}

fn refused(why: &InboxError) -> TransportError {
    match why {
        InboxError::Stopped => TransportError::Unreachable(why.to_string()),
        InboxError::Unreadable(_)
        | InboxError::Refused(_)
        | InboxError::NotLeader
        | InboxError::Damaged(_)
        | InboxError::NoRoom
        | InboxError::Disk(_) => TransportError::Refused(why.to_string()),
    }
}

impl Port {
    /// Goes on there also when nobody waits for the answer any more.
    async fn take(self, call: Call, message: Vec<u8>, trace: Trace) -> Answer {
        let (tell, told) = oneshot::channel();
        let Self { raft_id, inbox, process, invariants, .. } = self;
        tokio::spawn(self.outside.run(async move {
            let answer = inbox.take(call, &message, None).await;
            let promise = answer.as_ref().ok().and_then(|answer| promise::given(call, &message, answer));
            promise.into_iter().for_each(|promise| invariants.promises(raft_id, promise));
            if let Some(Promise::Vote(term)) = promise
                && process.voted()
            {
                trace.event(format_args!("{raft_id}: killed after its vote in term {term}"));
            }
            // The sender may have given up.
            let _ = tell.send(answer);
        }));
        match told.await {
            Ok(answer) => answer.map_err(|why| refused(&why)),
            Err(_dropped) => Err(TransportError::Broken("connection reset".into())),
        }
    }
}

impl Wire {
    async fn carry(&self, to: u64, call: Call, message: Vec<u8>) -> Answer {
        let what = format!("{call:?} {}", message.len());
        let (after, again) = match self.network.fate() {
            Fate::Arrives { after, again } => (after, again),
            Fate::Lost => pending().await,
        };
        if let Some(after) = again {
            let (network, from, message, what) = (self.network.clone(), self.from, message.clone(), what.clone());
            tokio::spawn(async move {
                sleep(after).await;
                if let Some(Ok(port)) = network.reach(from, to, &what) {
                    // Whoever sent it has the first one's answer.
                    drop(port.take(call, message, network.trace()).await);
                }
            });
        }
        sleep(after).await;
        let port = match self.network.reach(self.from, to, &what) {
            Some(port) => port?,
            None => pending().await,
        };
        let answer = port.take(call, message, self.network.trace()).await?;
        self.back(to, "answer").await;
        Ok(answer)
    }

    /// The way back of an answer.
    async fn back(&self, to: u64, what: &str) {
        match self.network.fate() {
            Fate::Arrives { after, .. } => sleep(after).await,
            Fate::Lost => pending().await,
        }
        if self.network.reach(to, self.from, what).is_none() {
            pending::<()>().await;
        }
    }

    async fn carry_snapshot(&self, to: u64, offer: Vec<u8>, mut chunks: Chunks) -> Answer {
        let broken = |why: std::io::Error| TransportError::Broken(why.to_string());
        let port = self.hop(to, None, &format!("Snapshot {}", offer.len())).await?;
        let life = Some(port.life);
        let mut receiving = port.inbox.receive_snapshot(&offer, None).map_err(|why| refused(&why))?;
        while let Some(chunk) = chunks.next().await.map_err(broken)? {
            let port = self.hop(to, life, &format!("Chunk {}", chunk.len())).await?;
            port.outside.run(receiving.write(chunk)).await.map_err(|why| refused(&why))?;
        }
        let port = self.hop(to, life, "End").await?;
        let answer = port.outside.run(receiving.finish()).await.map_err(|why| refused(&why))?;
        self.back(to, "answer").await;
        Ok(answer)
    }

    /// `life`: the connection ends with the process it was made to.
    async fn hop(&self, to: u64, life: Option<u64>, what: &str) -> Result<Port, TransportError> {
        match self.network.fate() {
            Fate::Arrives { after, .. } => sleep(after).await,
            Fate::Lost => pending().await,
        }
        let port = match self.network.reach(self.from, to, what) {
            Some(port) => port?,
            None => pending().await,
        };
        match life {
            Some(life) if life != port.life => Err(TransportError::Broken("connection reset".into())),
            Some(_) | None => Ok(port),
        }
    }
}

fn silent(_elapsed: tokio::time::error::Elapsed) -> TransportError {
    TransportError::Broken("nothing came back".into())
}

impl Transport for Wire {
    fn call<'a>(&'a self, target: &'a Target, call: Call, message: Vec<u8>) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            timeout(SILENCE_MAX, self.carry(target.raft_id, call, message)).await.map_err(silent).flatten()
        })
    }

    fn snapshot<'a>(&'a self, target: &'a Target, offer: Vec<u8>, chunks: Chunks) -> BoxFuture<'a, Answer> {
        Box::pin(async move {
            timeout(SILENCE_MAX, self.carry_snapshot(target.raft_id, offer, chunks)).await.map_err(silent).flatten()
        })
    }
}
