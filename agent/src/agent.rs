//! The agent as a whole: what it is made of, in which order it starts and stops. Its parts are told nothing of one
//! another but through what is wired here.
//!
//! Stopping leaves every container as it is; the next agent over the same folder takes them up again.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_proto::{id::NodeId, node::NodeOrders};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::{self, Clock, SystemClock},
    description::Describer,
    dial::{Dial, Stream},
    executor::{Executor, ExecutorError, Found, Identity},
    ingress::{self, Ingress},
    isolation::{
        Isolation,
        sentinel::{GuardCommand, Sentinel},
        stamp::Stamp,
    },
    roster::{self, Leave, Roster},
    routes::IngressList,
    session::{
        Sessions,
        acquaintance::{Acquaintance, Calls, Known, LeftBehind},
    },
    store::{
        self, Record, StoreError,
        kept::{self, Keeper, Kept},
    },
    task::Context,
};

/// Messages of the managers that wait for the disk. More, and the session is opened anew.
const DELTAS_MAX: usize = 64;

/// In the agent's folder.
const KNOWN_FILE: &str = "managers.json";
const ROUTES_FILE: &str = "ingress.json";

#[derive(Debug)]
pub struct Config {
    pub identity: Identity,
    pub data_dir: PathBuf,
    /// `host:port` each; more are learnt from them.
    pub managers: Vec<String>,
    /// How managers and other nodes are reached.
    pub dial: Arc<dyn Dial>,
    pub executor: Arc<dyn Executor>,
    /// What stops tasks that must not run in isolation where this process cannot. None where nothing that the executor
    /// runs outlasts this process.
    pub guard: Option<GuardCommand>,
    /// Where published ports are opened.
    pub ingress_ip: IpAddr,
    pub hostname: String,
    pub muster_version: String,
    /// Where other nodes reach this one, `host:port`, as the managers are told.
    pub advertise_addr: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the agent's store cannot be opened: {reason}")]
pub struct OpenError {
    reason: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

#[derive(Debug, thiserror::Error)]
#[error("a part of the agent broke off; containers run on, and a restart of the daemon takes them up again")]
pub struct RunError(#[source] Box<dyn std::error::Error + Send + Sync>);

#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error("the agent does not run; start the daemon and try again")]
    NotRunning,
    #[error("containers of this node could not be removed; make sure that the engine runs and try again")]
    Executor(#[source] ExecutorError),
}

/// Cheap to clone; works while the agent runs.
#[derive(Clone, Debug)]
pub struct Handle {
    ingress: ingress::Handle,
    leaves: mpsc::Sender<Leave>,
    orders: watch::Receiver<Option<NodeOrders>>,
    managers: watch::Receiver<Vec<String>>,
    removed: watch::Receiver<BTreeSet<NodeId>>,
    trouble: watch::Receiver<Option<String>>,
    calls: Calls,
}

impl Handle {
    #[must_use]
    pub fn ingress(&self) -> ingress::Handle {
        self.ingress.clone()
    }

    /// A connection from another node's agent to a task of this one; see [`ingress::Handle::accept_relay`].
    pub fn accept_relay(&self, peer: NodeId, stream: Stream) {
        self.ingress.accept_relay(peer, stream);
    }

    /// What the managers want this node to be; None until one has spoken since the agent began.
    #[must_use]
    pub fn orders(&self) -> watch::Receiver<Option<NodeOrders>> {
        self.orders.clone()
    }

    /// Where the managers are, `host:port` each, as they last said, also before this daemon began. Empty until then.
    #[must_use]
    pub fn managers(&self) -> watch::Receiver<Vec<String>> {
        self.managers.clone()
    }

    /// Why this node has no session with a manager, as it was told last; None while it has one or seeks the first.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// A manager called at this node's port to say where the managers are, `host:port` each. They are asked for a session
    /// besides those that were known, for as long as there is none.
    pub fn called(&self, incarnation: u64, managers: Vec<String>) -> Result<(), LeftBehind> {
        self.calls.take(incarnation, managers)
    }

    /// Nodes that the managers have removed, as they last said, also before this daemon began.
    #[must_use]
    pub fn removed(&self) -> watch::Receiver<BTreeSet<NodeId>> {
        self.removed.clone()
    }

    /// Stops and removes every container of this node and forgets every task. From then on the agent takes nothing in;
    /// it is to be stopped next.
    pub async fn remove_everything(&self) -> Result<u32, RemoveError> {
        let (sender, answer) = oneshot::channel();
        self.leaves.send(sender).await.map_err(|_gone| RemoveError::NotRunning)?;
        answer.await.map_err(|_gone| RemoveError::NotRunning)?.map_err(RemoveError::Executor)
    }
}

/// Where the managers are, `host:port` each, as they last said to the agent over this folder, for whoever runs none. Empty
/// where that was never written, or cannot be read. Blocking.
#[must_use]
pub fn known_managers(data_dir: &Path) -> Vec<String> {
    match kept::open::<Known>(data_dir, KNOWN_FILE) {
        Ok((known, _)) => known.get().managers,
        Err(error) => {
            tracing::warn!(%error, "what managers said last is not known");
            Vec::new()
        }
    }
}

#[derive(Debug)]
pub struct Agent {
    executor: Arc<dyn Executor>,
    handle: Handle,
    ingress: Ingress,
    writer: store::Writer,
    known_keeper: Keeper<Known>,
    routes_keeper: Keeper<IngressList>,
    sentinel: Sentinel,
    describer: Describer,
    census: watch::Sender<Option<Arc<Vec<Found>>>>,
    sessions: Sessions,
    roster: Roster,
}

/// What an earlier agent over the same folder left.
struct Remembered {
    tasks: (store::Store, store::Writer, Vec<Record>),
    known: (Kept<Known>, Keeper<Known>),
    routes: (Kept<IngressList>, Keeper<IngressList>),
    /// When the node's lease ends, in this boot of the host.
    until: Option<Duration>,
}

impl Remembered {
    async fn read(data_dir: PathBuf) -> Result<Self, OpenError> {
        let read = move || {
            let tasks = store::open(&data_dir)?;
            let known = kept::open(&data_dir, KNOWN_FILE)?;
            let routes = kept::open(&data_dir, ROUTES_FILE)?;
            let boot_id = clock::boot_id();
            let until = Stamp::read(&data_dir).filter(|stamp| stamp.boot_id == boot_id).map(|stamp| stamp.until);
            Ok(Self { tasks, known, routes, until })
        };
        let read: Result<Result<Self, StoreError>, JoinError> = tokio::task::spawn_blocking(read).await;
        match read {
            Ok(Ok(remembered)) => Ok(remembered),
            Ok(Err(error)) => {
                let source = std::error::Error::source(&error).map(|cause| cause.to_string().into());
                Err(OpenError { reason: error.to_string(), source })
            }
            Err(error) => Err(OpenError { reason: "reading it broke off".to_owned(), source: Some(error.into()) }),
        }
    }
}

impl Agent {
    pub async fn open(config: Config) -> Result<Self, OpenError> {
        Self::open_with_clock(config, Arc::new(SystemClock)).await
    }

    /// For tests: times in statuses come from `clock`.
    pub async fn open_with_clock(config: Config, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let Remembered { tasks, known, routes, until } = Remembered::read(config.data_dir.clone()).await?;
        let ((store, writer, records), (known, known_keeper), (routes, routes_keeper)) = (tasks, known, routes);
        let ingress = Ingress::new(ingress::Config {
            node: config.identity.node_id,
            dial: config.dial.clone(),
            ip: config.ingress_ip,
        });
        // Until a manager has spoken, the ports are those of before.
        ingress.handle().set(routes.get().services);
        let (census, census_seen) = watch::channel(None);
        let (store_problem, store_problem_seen) = watch::channel(None);
        let (deltas, deltas_in) = mpsc::channel(DELTAS_MAX);
        let (leaves, leaves_in) = mpsc::channel(1);
        let (orders, orders_seen) = watch::channel(None);
        let (managers, managers_seen) = watch::channel(known.get().managers);
        let (removed, removed_seen) = watch::channel(known.get().removed.into_iter().collect());
        let (trouble, trouble_seen) = watch::channel(None);
        let calls = Calls::new(known.clone());
        let describer = Describer::begin(
            config.executor.clone(),
            config.hostname,
            config.muster_version,
            ingress.handle().watch_problems(),
            store_problem_seen,
        )
        .await;
        let isolation = Isolation::new(clock.clone(), until);
        let sentinel =
            Sentinel { isolation: isolation.clone(), data_dir: config.data_dir.clone(), guard: config.guard };
        let context =
            Context::new(config.executor.clone(), ingress.handle(), store, clock, census_seen, isolation.clone());
        let handle = Handle {
            ingress: ingress.handle(),
            leaves,
            orders: orders_seen,
            managers: managers_seen,
            removed: removed_seen,
            trouble: trouble_seen,
            calls: calls.clone(),
        };
        let sessions = Sessions {
            identity: config.identity,
            managers: config.managers,
            advertise_addr: config.advertise_addr,
            dial: config.dial,
            outbox: context.outbox.clone(),
            directory: context.directory.clone(),
            executor: config.executor.clone(),
            description: describer.watch(),
            deltas,
            acquaintance: Acquaintance { known, orders, managers, removed, calls },
            trouble,
            isolation,
        };
        let roster = Roster::new(Arc::new(context), records, routes, store_problem, deltas_in, leaves_in);
        Ok(Self {
            executor: config.executor,
            handle,
            ingress,
            writer,
            known_keeper,
            routes_keeper,
            sentinel,
            describer,
            census,
            sessions,
            roster,
        })
    }

    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Until `shutdown`. Containers are left running.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), RunError> {
        let stop = shutdown.child_token();
        let mut parts = JoinSet::new();
        parts.spawn(self.ingress.run(stop.clone()));
        parts.spawn(self.describer.run(stop.clone()));
        parts.spawn(roster::take_census(self.executor, self.census, stop.clone()));
        parts.spawn(self.sessions.run(stop.clone()));
        parts.spawn(self.known_keeper.run(stop.clone()));
        parts.spawn(self.routes_keeper.run(stop.clone()));
        parts.spawn(self.sentinel.run(stop.clone()));
        // Ends when the last task that could still have something written down has.
        parts.spawn(self.writer.run());
        let mut broken = None;
        {
            let mut roster = std::pin::pin!(self.roster.run(stop.clone()));
            loop {
                tokio::select! {
                    ended = &mut roster => {
                        broken = broken.or(ended.err().map(|error| RunError(error.into())));
                        break;
                    }
                    Some(ended) = parts.join_next() => {
                        note(&mut broken, ended, &stop);
                    }
                }
            }
        }
        stop.cancel();
        while let Some(ended) = parts.join_next().await {
            note(&mut broken, ended, &stop);
        }
        broken.map_or(Ok(()), Err)
    }
}

/// A part that panicked takes the others with it.
fn note(broken: &mut Option<RunError>, ended: Result<(), JoinError>, stop: &CancellationToken) {
    if let Err(error) = ended {
        stop.cancel();
        broken.get_or_insert_with(|| RunError(error.into()));
    }
}
