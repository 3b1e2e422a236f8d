//! The ingress: opens every published port on this host and carries connections to ready tasks.
//!
//! The agent feeds it ([`Handle::set`] with the managers' list, [`Handle::drain`] before a task is stopped) and shows
//! its problems. Its promise: a task that drains loses no request. New connections go elsewhere at once; an HTTP/1
//! connection moves to another task between two requests, unseen by the client; any other connection lasts until one
//! of its ends closes it.
//!
//! A task of another node is reached through that node's agent, which calls [`Handle::accept_relay`] there. It refuses
//! one that is on its way out, so that nothing is lost where this node hears of that late.
//!
//! It knows nothing of tasks' states, of managers or of containers: backends are addresses, which the agent offers
//! ([`Handle::offer`]) or another node knows.

mod accept;
mod dial;
mod hop;
mod http;
mod listener;
mod relay;
mod rotation;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_proto::{
    assignment::IngressService,
    id::{NodeId, ServiceId, TaskId},
};
use nix::sys::resource::{Resource, getrlimit};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::dial::{Dial, Stream};
use rotation::Rotation;

/// Client connections at a time, over all ports, and as many of other nodes' clients to tasks of this one. Each costs two
/// descriptors and, while it moves bytes, some KiB. Clients for whom no backend takes connections may have half of the
/// places at most: services that are down leave the other half to the ports of those that are up.
const CONNECTIONS_MAX: usize = 16_384;
const DESCRIPTORS_EACH: u64 = 2;
/// Descriptors that clients may not have: nodes, the engine, the disk and the command line need them.
const DESCRIPTORS_RESERVED: u64 = 2_048;

/// Pause between two tries to open a port that somebody else holds.
const BIND_RETRY: Duration = Duration::from_secs(1);

/// After a shutdown request, how long connections in the middle of something may go on.
/// Short: a daemon that is stopped is usually to be started again.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// How the others are reached.
    pub dial: Arc<dyn Dial>,
    /// Where published ports are opened; the unspecified address for all of the host's.
    pub ip: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Healthy,
    Unhealthy,
}

/// Holds the sockets; [`Ingress::run`] is its life.
#[derive(Debug)]
pub struct Ingress {
    shared: Arc<Shared>,
}

/// What the agent holds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ip: IpAddr,
    dial: Arc<dyn Dial>,
    begun: Instant,
    rotation: Mutex<Rotation>,
    /// Counts changes of the rotation: wakes the port loop and clients that wait for a backend.
    changed: watch::Sender<u64>,
    problems: watch::Sender<Vec<String>>,
    open_ports: Mutex<BTreeSet<u16>>,
    connections: TaskTracker,
    slots: Arc<Semaphore>,
    /// Of clients that wait for a backend.
    waiting_slots: Semaphore,
    relayed_slots: Arc<Semaphore>,
    /// Idle connections close now.
    stopping: CancellationToken,
    /// All connections close now.
    abort: CancellationToken,
}

/// Places for clients, and as many for other nodes', of so many descriptors.
fn places(descriptors: u64) -> usize {
    let reserved = DESCRIPTORS_RESERVED.min(descriptors / 2);
    let places = (descriptors - reserved) / (2 * DESCRIPTORS_EACH);
    usize::try_from(places).map_or(CONNECTIONS_MAX, |places| places.min(CONNECTIONS_MAX))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is consistent between any two statements of ours, so a panic elsewhere spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn rotation(&self) -> MutexGuard<'_, Rotation> {
        locked(&self.rotation)
    }

    fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

impl Handle {
    /// The managers' list, whole. Ports open and close as it says; tasks not in it leave rotation.
    pub fn set(&self, services: Vec<IngressService>) {
        self.shared.rotation().set(services);
        self.shared.wake();
    }

    /// A task of this node takes connections at `address`: from now on other nodes' clients get to it, and those here
    /// once the managers' list has it too.
    pub fn offer(&self, task: TaskId, service: ServiceId, address: IpAddr) {
        self.shared.rotation().offer(task, service, address);
        self.shared.wake();
    }

    /// A connection that another node's ingress passes on. It is served in the background until it ends or the ingress
    /// stops.
    pub fn accept_relay(&self, peer: NodeId, stream: Stream) {
        let shared = self.shared.clone();
        if shared.stopping.is_cancelled() {
            return;
        }
        let tracker = shared.connections.clone();
        let slot = shared.relayed_slots.clone().try_acquire_owned();
        tracker.spawn(async move {
            tokio::select! {
                () = shared.abort.cancelled() => {}
                () = async {
                    match slot {
                        Ok(_slot) => accept::serve(peer, stream, &shared).await,
                        Err(_full) => accept::refuse(stream).await,
                    }
                } => {}
            }
        });
    }

    /// Takes the task out of rotation before it returns, for this node's clients and those of others. The future resolves once no connection to it remains; it may
    /// be dropped, the task stays out.
    pub fn drain(&self, task: TaskId) -> impl Future<Output = ()> + Send + use<> {
        let connections = self.shared.rotation().drain(task);
        self.shared.wake();
        async move { connections.wait().await }
    }

    /// An unhealthy task gets connections only when all are unhealthy. A task is healthy until told otherwise; what is
    /// said of a task that is not listed is forgotten at the next list without it.
    pub fn set_health(&self, task: TaskId, health: Health) {
        self.shared.rotation().set_health(task, health);
        self.shared.wake();
    }

    /// What keeps published ports from being open, a sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.shared.problems.borrow().clone()
    }

    #[must_use]
    pub fn watch_problems(&self) -> watch::Receiver<Vec<String>> {
        self.shared.problems.subscribe()
    }

    /// Whether the port is this ingress's own or free; else the sentence that says who stands in the way.
    #[allow(clippy::unused_async, reason = "binding is quick today; callers must not come to depend on it")]
    pub async fn check_port(&self, port: u16) -> Result<(), String> {
        if locked(&self.shared.open_ports).contains(&port) {
            return Ok(());
        }
        listener::bind(self.shared.ip, port).map(drop).map_err(|error| listener::refusal(self.shared.ip, port, &error))
    }
}

impl Ingress {
    #[must_use]
    pub fn new(config: Config) -> Self {
        // Where the limit cannot be read the full number holds, and what is too much is refused one by one.
        let places = getrlimit(Resource::RLIMIT_NOFILE).map_or(CONNECTIONS_MAX, |(soft, _hard)| places(soft));
        Self {
            shared: Arc::new(Shared {
                ip: config.ip,
                dial: config.dial,
                begun: Instant::now(),
                rotation: Mutex::new(Rotation::new(config.node)),
                changed: watch::Sender::new(0),
                problems: watch::Sender::new(Vec::new()),
                open_ports: Mutex::default(),
                connections: TaskTracker::new(),
                slots: Arc::new(Semaphore::new(places)),
                waiting_slots: Semaphore::new((places / 2).max(1)),
                relayed_slots: Arc::new(Semaphore::new(places)),
                stopping: CancellationToken::new(),
                abort: CancellationToken::new(),
            }),
        }
    }

    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// Keeps the ports open until `shutdown`; then closes them, lets connections finish for a moment, and returns with
    /// none left.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut changed = self.shared.changed.subscribe();
        let mut ports = Ports::new(self.shared.clone());
        loop {
            let problems = ports.open_and_close();
            let blocked = !problems.is_empty();
            self.shared.problems.send_if_modified(|known| {
                let differs = *known != problems;
                *known = problems;
                differs
            });
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = changed.changed() => {}
                // One that was closed is free from now on, and may be wanted again.
                Some(_closed) = ports.accepting.join_next() => {}
                () = sleep(BIND_RETRY), if blocked => {}
            }
        }
        ports.close_all().await;
        self.shared.stopping.cancel();
        self.shared.connections.close();
        if timeout(SHUTDOWN_GRACE, self.shared.connections.wait()).await.is_err() {
            self.shared.abort.cancel();
            self.shared.connections.wait().await;
        }
    }
}

/// The open ports and the tasks that accept on them.
struct Ports {
    shared: Arc<Shared>,
    open: BTreeMap<u16, CancellationToken>,
    accepting: JoinSet<()>,
}

impl Ports {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: BTreeMap::new(), accepting: JoinSet::new() }
    }

    /// Makes the open ports those of the rotation; returns what stands in the way.
    fn open_and_close(&mut self) -> Vec<String> {
        let wanted = self.shared.rotation().ports();
        self.open.retain(|port, closing| {
            let keep = wanted.contains(port);
            if !keep {
                closing.cancel();
            }
            keep
        });
        let mut problems = Vec::new();
        for port in wanted {
            if self.open.contains_key(&port) {
                continue;
            }
            match listener::bind(self.shared.ip, port) {
                Ok(listener) => {
                    let closing = CancellationToken::new();
                    self.accepting.spawn(listener::serve(listener, port, self.shared.clone(), closing.clone()));
                    self.open.insert(port, closing);
                }
                Err(error) => problems.push(listener::refusal(self.shared.ip, port, &error)),
            }
        }
        *locked(&self.shared.open_ports) = self.open.keys().copied().collect();
        problems
    }

    async fn close_all(&mut self) {
        for closing in self.open.values() {
            closing.cancel();
        }
        self.open.clear();
        locked(&self.shared.open_ports).clear();
        while self.accepting.join_next().await.is_some() {}
    }
}

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;
