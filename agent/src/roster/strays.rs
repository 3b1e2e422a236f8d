//! Containers of this node that no assignment speaks for: their record was damaged, a manager that was restored from a
//! backup does not know them, or the engine made them after whoever asked had been killed. They run on until the managers' first complete set says that nobody wants them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use muster_proto::container::ContainerSpec;
use tokio::{
    task::{JoinError, JoinSet},
    time::sleep,
};
use tracing::{info, warn};

use crate::executor::{ContainerId, ContainerState, Executor, ExecutorError, Found};

const RETRY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Strays {
    complete_set_seen: bool,
    /// Being removed, or removed since the last look.
    taken: BTreeSet<ContainerId>,
    removals: JoinSet<()>,
}

impl Strays {
    pub(super) fn may_be_removed(&mut self) {
        self.complete_set_seen = true;
    }

    pub(super) fn remove(&mut self, executor: &Arc<dyn Executor>, census: &[Found], known: impl Fn(&Found) -> bool) {
        if !self.complete_set_seen {
            return;
        }
        self.taken.retain(|taken| census.iter().any(|found| found.container == *taken));
        for found in census.iter().filter(|found| !known(found)) {
            // What was known when the agent began has an actor that saw to its removal.
            if self.taken.insert(found.container.clone()) {
                info!(container = %found.container, task = %found.task_id, "removing a container that nobody asks for");
                self.removals.spawn(remove(executor.clone(), found.clone()));
            }
        }
    }

    pub(super) async fn removed(&mut self) -> Option<Result<(), JoinError>> {
        self.removals.join_next().await
    }

    pub(super) async fn shutdown(&mut self) {
        self.removals.shutdown().await;
    }
}

async fn remove(executor: Arc<dyn Executor>, found: Found) {
    loop {
        match stop_and_remove(&*executor, &found, ContainerSpec::STOP_GRACE_PERIOD).await {
            Ok(()) | Err(ExecutorError::Gone) => return,
            Err(error) => warn!(container = %found.container, %error, "a container nobody asks for is still there"),
        }
        sleep(RETRY).await;
    }
}

pub(super) async fn stop_and_remove(
    executor: &dyn Executor,
    found: &Found,
    grace: Duration,
) -> Result<(), ExecutorError> {
    match found.state {
        ContainerState::Running { .. } => executor.stop(&found.container, grace).await?,
        ContainerState::Created | ContainerState::Exited(_) => {}
    }
    executor.remove(&found.container).await
}
