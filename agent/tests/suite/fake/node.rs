//! An agent that runs.

use std::{path::Path, sync::Arc};

use muster_agent::{
    Agent, Config, Handle, RunError,
    executor::{Executor, Identity, sim::Sim},
};
use muster_proto::id::{ClusterId, NodeId};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Manager, PATIENCE, dial::Nodes};

pub(crate) const IDENTITY: Identity = Identity { cluster_id: ClusterId::from_bits(1), node_id: NodeId::from_bits(2) };

/// What a test starts an agent with.
pub(crate) fn config(dir: &Path, sim: &Arc<Sim>, managers: Vec<String>) -> Config {
    let executor: Arc<dyn Executor> = sim.clone();
    Config {
        identity: IDENTITY,
        data_dir: dir.to_owned(),
        managers,
        dial: Nodes::default().seen_from(IDENTITY.node_id),
        executor,
        guard: None,
        advertise_addr: String::new(),
        ingress_ip: [127, 0, 0, 1].into(),
        hostname: "host".to_owned(),
        muster_version: "0.0.0".to_owned(),
    }
}

pub(crate) struct Node {
    pub(crate) handle: Handle,
    shutdown: CancellationToken,
    agent: JoinHandle<Result<(), RunError>>,
}

impl Node {
    pub(crate) async fn start(dir: &Path, sim: &Arc<Sim>, manager: &Manager) -> Self {
        Self::start_with(config(dir, sim, vec![manager.address.to_string()])).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let agent = Agent::open(config).await.unwrap();
        let (handle, shutdown) = (agent.handle(), CancellationToken::new());
        Self { handle, agent: tokio::spawn(agent.run(shutdown.clone())), shutdown }
    }

    /// As by SIGKILL: nothing is said or written any more, and what runs runs on.
    pub(crate) async fn kill(self) {
        self.agent.abort();
        assert!(self.agent.await.is_err_and(|ended| ended.is_cancelled()));
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        timeout(PATIENCE, self.agent).await.expect("the agent does not stop").unwrap().unwrap();
    }
}
