//! The hosts of a run, and how they become a cluster.

use std::time::Duration;

use muster_core::command::{Command, Outcome};
use muster_manager::{Bootstrap, Handle, Start};
use muster_proto::{
    cluster::ClusterSpec,
    id::NodeId,
    node::{EngineHealth, NodeDescription, NodeSpec, Role},
    resources::Resources,
    version::Term,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    clock::SkewedClock,
    host::{Host, Stage, World, address, node_id},
};

/// How often a condition is looked at.
pub const LOOK: Duration = Duration::from_millis(20);
/// For what must happen without faults.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes that tasks run on; no process of a manager is there.
pub const WORKERS: [NodeId; 3] = [NodeId::from_bits(101), NodeId::from_bits(102), NodeId::from_bits(103)];

/// Nobody goes there.
const WORKERS_ADDRESS: &str = "10.0.1.1:7377";

#[derive(Debug)]
pub struct Cluster {
    pub hosts: Vec<Host>,
    pub world: World,
}

/// Looks again and again until there is something.
pub async fn until<T>(what: &str, patience: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T, String> {
    let found = timeout(patience, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(LOOK).await;
        }
    });
    found.await.map_err(|_elapsed| format!("waited {} s in vain: {what}", patience.as_secs()))
}

impl Cluster {
    /// The first founds it, the others join one by one.
    pub async fn form(world: World, managers: u64) -> Result<Self, String> {
        let origin = Instant::now();
        let hosts = (1..=managers).map(|raft_id| Host::new(world.clone(), raft_id, SkewedClock::new(origin)));
        let mut cluster = Self { hosts: hosts.collect(), world };
        cluster.hosts[0].start(Start::Cluster(Bootstrap { spec: ClusterSpec::default(), founding: None }));
        for host in &mut cluster.hosts[1..] {
            host.start(Start::Member);
        }
        until("the processes open", PATIENCE, async || {
            cluster.hosts.iter().all(|host| host.handle().is_some()).then_some(())
        })
        .await?;
        for worker in WORKERS {
            cluster.propose(join(worker, WORKERS_ADDRESS.into(), Role::Worker)).await?;
            cluster.propose(describe(worker)).await?;
        }
        for raft_id in 2..=managers {
            cluster.propose(join(node_id(raft_id), address(raft_id), Role::Manager)).await?;
        }
        until("all managers are voters", PATIENCE, async || {
            let group = cluster.leader()?.members().now();
            (group.voters.len() as u64 == managers && !group.changing).then_some(())
        })
        .await?;
        Ok(cluster)
    }

    async fn propose(&self, command: Command) -> Result<(), String> {
        let leader = self.leader().ok_or("nobody leads")?;
        match leader.replica().propose(command).await {
            Ok(Outcome::Done { .. }) => Ok(()),
            other => Err(format!("the cluster could not be set up: {other:?}")),
        }
    }

    /// Who believes to lead; of several, the one in the highest term.
    #[must_use]
    pub fn leader(&self) -> Option<Handle> {
        self.believing().into_iter().max_by_key(|(term, _)| *term).map(|(_, handle)| handle)
    }

    /// All who believe to lead, and in which term.
    #[must_use]
    pub fn believing(&self) -> Vec<(Term, Handle)> {
        let leading = self.hosts.iter().filter_map(Host::handle).filter_map(|handle| {
            let term = handle.replica().leading()?;
            Some((term, handle))
        });
        leading.collect()
    }

    /// Processes that lost power in the middle of a write, or ended by themselves, are gone.
    pub fn bury(&mut self) {
        for host in &mut self.hosts {
            let dead = match host.life() {
                None => false,
                Some(life) => matches!(life.stage(), Stage::Ended(_)),
            };
            if dead || host.has_died() {
                host.kill();
            }
        }
    }

    /// What is down starts again.
    pub fn start_all(&mut self) {
        self.bury();
        for host in &mut self.hosts {
            if host.life().is_none() {
                host.start(Start::Member);
            }
        }
    }
}

/// Raft ids are given in the order of joining, which is that of the hosts.
fn join(id: NodeId, address: String, role: Role) -> Command {
    Command::JoinNode { id, spec: NodeSpec { role, ..NodeSpec::default() }, address }
}

fn describe(id: NodeId) -> Command {
    let description = NodeDescription {
        hostname: id.to_string(),
        os: "linux".into(),
        arch: "x86_64".into(),
        resources: Resources { nano_cpus: 4_000_000_000, memory_bytes: 8 << 30 },
        engine: "sim".into(),
        engine_version: "1".into(),
        engine_labels: Default::default(),
        engine_health: EngineHealth::Ok,
        problems: Vec::new(),
        muster_version: "0.1.0".into(),
    };
    Command::DescribeNode { id, description: Box::new(description), address: WORKERS_ADDRESS.into() }
}
