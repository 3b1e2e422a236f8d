//! The parts that run while this host is in a cluster: on managers a manager, the port for other nodes, the agent.
//!
//! Start order is manager, port, agent; stop order is the reverse. The manager comes and goes with the node's role; the
//! port and the agent do not notice. A part that ends by itself is the daemon's end: the host is not left with half of
//! what it should run.

mod manager;

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use muster_agent::{
    Agent,
    executor::{Executor, Identity},
};
use muster_manager::{
    Manager, Start as Beginning,
    authorization::Denied,
    ca::{Alpn, DIAL_MAX, DialError, Expect, Keeper},
    group::HandOverError,
    raft::standing::Dismissal,
    recovery::{self, Recovered},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tower::util::BoxCloneSyncService;

use self::manager::{heal, open, run_until_told, services};
use super::{
    advertise,
    args::Args,
    data_dir::DataDir,
    dial::Secured,
    doors::Doors,
    engine,
    gate::Gate,
    managers::Managers,
    part::Part,
    port::{self, Port},
    preflight::LocalHost,
    record::Record,
    recover,
    whereabouts::Whereabouts,
};

/// How long a leader that stops may look for another to take its place.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// What a member is started with.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) args: Args,
    pub(super) data_dir: Arc<DataDir>,
    pub(super) gate: Gate,
    /// Hears of a part that ended by itself.
    pub(super) failures: mpsc::Sender<anyhow::Error>,
}

#[derive(Debug)]
struct ManagerPart {
    handle: muster_manager::Handle,
    part: Part,
}

#[derive(Debug)]
pub(super) struct Member {
    surroundings: Surroundings,
    record: Record,
    keeper: Keeper,
    preflight: Arc<LocalHost>,
    agent: muster_agent::Handle,
    manager: Option<ManagerPart>,
    /// In the order they were started.
    parts: Vec<Part>,
}

impl Member {
    /// `listener` was bound before anything was written, so that a port in use leaves nothing behind.
    pub(super) async fn start(
        surroundings: Surroundings,
        record: Record,
        beginning: Beginning,
        listener: TcpListener,
    ) -> anyhow::Result<Self> {
        let keeper = Keeper::new(record.credentials()?)
            .context("the node's certificate cannot be used; restore the folder `member` from a copy")?;
        let identity = Identity { cluster_id: record.cluster_id, node_id: record.node_id };
        let executor = engine::choose(&surroundings.args, identity);
        let preflight = Arc::new(LocalHost::new(Arc::clone(&executor)));
        let mut record = record;
        let manager = match record.raft_id {
            Some(raft_id) => Some(open(&surroundings, &mut record, raft_id, &keeper, &preflight, beginning).await?),
            None => None,
        };
        let record = match &manager {
            Some(manager) => heal(&surroundings, record, &keeper, &manager.handle()).await?,
            None => record,
        };
        let agent = Agent::open(agent_config(&surroundings, &record, &keeper, executor, identity)).await?;
        let handle = agent.handle();
        preflight.attach(handle.ingress());
        surroundings.gate.heed(handle.removed());

        // Before anything runs: a part that was begun would outlive a failure here.
        let port = Port::new(port_options(&keeper, &surroundings.gate, &handle), listener);
        let failures = surroundings.failures.clone();
        let mut member =
            Self { surroundings, record, keeper, preflight, agent: handle, manager: None, parts: Vec::new() };
        match manager {
            Some(manager) => member.run_manager(manager),
            None => member.point_to_managers(),
        }
        member.parts.push(Part::run("port", &failures, |shutdown| port.run(shutdown)));
        member.parts.push(Part::run("agent", &failures, |shutdown| async move { Ok(agent.run(shutdown).await?) }));
        tracing::info!(cluster = %member.record.cluster_id, node = %member.record.node_id, role = %member.record.role, "in the cluster");
        Ok(member)
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(super) fn agent(&self) -> &muster_agent::Handle {
        &self.agent
    }

    pub(super) fn manager(&self) -> Option<&muster_manager::Handle> {
        self.manager.as_ref().map(|manager| &manager.handle)
    }

    /// The manager that runs here and that the others count on, as far as it knows.
    pub(super) fn serving(&self) -> Option<&muster_manager::Handle> {
        self.manager().filter(|manager| manager.dismissed().borrow().is_none())
    }

    /// Hears of it when the others let this node's manager go.
    pub(super) fn dismissed(&self) -> Option<watch::Receiver<Option<Dismissal>>> {
        self.manager().map(muster_manager::Handle::dismissed)
    }

    /// Whom to ask, this node's own manager first where it has one.
    pub(super) fn managers(&self) -> Managers {
        let here = &self.record.advertise_addr;
        // One that the others let go answers nothing any more, though the list may name this node again.
        let own = self.serving().map(|_| here.clone());
        let others = self.whereabouts().all().into_iter().filter(|address| address != here);
        Managers { keeper: self.keeper.clone(), addresses: own.iter().cloned().chain(others).collect() }
    }

    /// Refuses an address that does not lead to this node's port.
    pub(super) async fn check_address(&self, address: &str) -> anyhow::Result<()> {
        let why = match self.keeper.dial(address, Expect::Node(self.record.node_id), Alpn::Grpc).await {
            // This node has answered, whatever its certificate is worth by now.
            Ok(_) | Err(DialError::Expired { .. } | DialError::NotYetValid { .. }) => return Ok(()),
            Err(DialError::Unreachable { source, .. } | DialError::Closed { source, .. }) => source.to_string(),
            Err(DialError::TimedOut { .. }) => format!("no answer in {} s", DIAL_MAX.as_secs()),
            Err(error @ DialError::OwnCertificate(_)) => return Err(error.into()),
            Err(_) => "another answers there".to_owned(),
        };
        Err(advertise::elsewhere(address, &why))
    }

    /// From now on this node is what `record` says; it is on the disk before anything acts on it.
    pub(super) async fn take_on(&mut self, record: Record) -> anyhow::Result<()> {
        let credentials = record.credentials()?;
        // A manager that was demoted and promoted again is another one.
        if self.manager().is_some_and(|manager| Some(manager.raft_id()) != record.raft_id) {
            self.stop_manager().await;
        }
        record.write(&self.surroundings.data_dir.member())?;
        self.keeper.replace(credentials)?;
        self.record = record;
        match (self.record.raft_id, &self.manager) {
            (Some(raft_id), None) => {
                let (surroundings, preflight, again) = (&self.surroundings, &self.preflight, Beginning::Again);
                let manager = open(surroundings, &mut self.record, raft_id, &self.keeper, preflight, again).await?;
                self.run_manager(manager);
            }
            (None, _) => {
                remove(&self.surroundings.data_dir.manager())?;
                self.point_to_managers();
            }
            (Some(_), Some(_)) => {}
        }
        Ok(())
    }

    /// Has this node's manager sign the next certificate for itself, where the present one is over.
    pub(super) async fn heal(&mut self) -> anyhow::Result<()> {
        let Some(manager) = self.serving().cloned() else { return Ok(()) };
        self.record = heal(&self.surroundings, self.record.clone(), &self.keeper, &manager).await?;
        Ok(())
    }

    /// Goes on as a cluster of this manager alone. Where that cannot be prepared, the manager runs on as it was.
    pub(super) async fn recover(&mut self, address: String) -> anyhow::Result<Recovered> {
        let data_dir = Arc::clone(&self.surroundings.data_dir);
        self.end_manager().await;
        let prepared = recover::prepare(&data_dir, &self.record, address).await;
        let outcome = match prepared {
            Ok((record, recovered)) => {
                self.record = recover::finish(&data_dir, record)?;
                Ok(recovered)
            }
            Err(error) => Err(error),
        };
        if let Some(raft_id) = self.record.raft_id {
            let (surroundings, preflight) = (&self.surroundings, &self.preflight);
            let again = Beginning::Again;
            let manager = open(surroundings, &mut self.record, raft_id, &self.keeper, preflight, again).await?;
            self.record = heal(surroundings, self.record.clone(), &self.keeper, &manager.handle()).await?;
            self.run_manager(manager);
        }
        outcome
    }

    /// A manager that has not heard of it yet goes on until it has.
    pub(super) fn say_removed(&self) {
        if self.serving().is_none() {
            self.surroundings.gate.refuse(&Denied::Removed(self.record.node_id).to_string());
        }
    }

    fn run_manager(&mut self, manager: Manager) {
        let handle = manager.handle();
        let gate = self.surroundings.gate.clone();
        let part =
            Part::run("manager", &self.surroundings.failures, |shutdown| run_until_told(manager, gate, shutdown));
        self.surroundings.gate.open(services(&handle, &self.keeper), Arc::new(handle.replica().clone()));
        self.manager = Some(ManagerPart { handle, part });
    }

    /// So that the cluster need not find out by itself that its leader is gone.
    async fn hand_over(&self) {
        let Some(ManagerPart { handle, .. }) = &self.manager else { return };
        match tokio::time::timeout(HAND_OVER_MAX, handle.hand_over()).await {
            Ok(Ok(()) | Err(HandOverError::NotLeader)) => {}
            Ok(Err(error)) => tracing::info!("the leadership was not handed over: {error}"),
            Err(_elapsed) => tracing::info!("the leadership was not handed over in time"),
        }
    }

    async fn stop_manager(&mut self) {
        self.hand_over().await;
        self.end_manager().await;
    }

    async fn end_manager(&mut self) {
        let Some(ManagerPart { part, .. }) = self.manager.take() else { return };
        self.surroundings.gate.refuse("this node's manager is stopping; repeat the command in a moment");
        part.stop().await;
    }

    fn whereabouts(&self) -> Whereabouts {
        Whereabouts::of(&self.agent, &self.record)
    }

    fn point_to_managers(&self) {
        self.surroundings.gate.point_to(self.whereabouts());
    }

    /// Containers keep running.
    pub(super) async fn stop(mut self) {
        self.hand_over().await;
        // The agent's last reports go out while its manager still takes them, and the manager's last answers through
        // the port.
        if let Some(agent) = self.parts.pop() {
            agent.stop().await;
        }
        self.stop_manager().await;
        while let Some(part) = self.parts.pop() {
            part.stop().await;
        }
        self.surroundings.gate.close();
    }
}

fn port_options(keeper: &Keeper, gate: &Gate, agent: &muster_agent::Handle) -> port::Options {
    let agent = agent.clone();
    port::Options {
        keeper: keeper.clone(),
        roll: Arc::new(gate.clone()),
        services: BoxCloneSyncService::new(Doors::new(gate.clone(), agent.clone())),
        relay: Arc::new(move |node, stream| agent.accept_relay(node, stream)),
    }
}

fn agent_config(
    surroundings: &Surroundings,
    record: &Record,
    keeper: &Keeper,
    executor: Arc<dyn Executor>,
    identity: Identity,
) -> muster_agent::Config {
    let own = record.raft_id.is_some().then(|| record.advertise_addr.clone());
    let others = record.managers.iter().filter(|address| Some(*address) != own.as_ref()).cloned();
    muster_agent::Config {
        identity,
        data_dir: surroundings.data_dir.agent(),
        managers: own.iter().cloned().chain(others).collect(),
        dial: Arc::new(Secured::new(keeper.clone())),
        executor,
        guard: engine::guard(&surroundings.args, identity, &surroundings.data_dir.agent()),
        ingress_ip: surroundings.args.ingress_ip(),
        hostname: hostname(),
        muster_version: env!("CARGO_PKG_VERSION").to_owned(),
        advertise_addr: record.advertise_addr.clone(),
    }
}

pub(super) fn hostname() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_else(|_| "localhost".to_owned())
}

/// Everything of a membership that is on disk.
pub(super) fn erase(data_dir: &DataDir) -> anyhow::Result<()> {
    recovery::erase(data_dir.path())?;
    // The record goes last: as long as it is there, an interrupted erasure is seen and finished.
    [data_dir.manager(), data_dir.agent(), data_dir.member()].iter().try_for_each(|folder| remove(folder))
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
