//! The node leaves its cluster: nothing of it stays on this host.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use muster_proto::{container::ContainerSpec, id::TaskId};
use tokio_util::sync::CancellationToken;

use super::{Broken, Leave, Roster, strays::stop_and_remove};
use crate::{
    executor::{self, ExecutorError},
    routes::IngressList,
};

/// Removed at the same time, as many as are started.
const REMOVALS_MAX: usize = 8;
/// Looks for containers that an interrupted preparation made while the others were removed.
const ROUNDS_MAX: u32 = 3;

impl Roster {
    /// From here on nothing is taken in any more; returns when shut down.
    pub(super) async fn leave(mut self, answer: Leave, shutdown: &CancellationToken) -> Result<(), Broken> {
        self.actors.shutdown().await;
        self.strays.shutdown().await;
        self.kept_routes.set(IngressList::default());
        self.context.ingress.set(Vec::new());
        let removed = self.remove_all().await;
        if removed.is_ok() {
            for task in self.orders.keys() {
                self.context.store.forget(*task).await;
            }
        }
        // Whoever asked may have given up.
        let _ = answer.send(removed);
        shutdown.cancelled().await;
        Ok(())
    }

    async fn remove_all(&self) -> executor::Result<u32> {
        let executor = &self.context.executor;
        let mut removed = 0;
        for _round in 0..ROUNDS_MAX {
            let found = executor.list().await?;
            if found.is_empty() {
                break;
            }
            removed += u32::try_from(found.len()).unwrap_or(u32::MAX);
            let removals = found.into_iter().map(|found| async move {
                match stop_and_remove(&**executor, &found, self.grace(found.task_id)).await {
                    Ok(()) | Err(ExecutorError::Gone) => Ok(()),
                    Err(error) => Err(error),
                }
            });
            stream::iter(removals).buffer_unordered(REMOVALS_MAX).try_collect::<Vec<()>>().await?;
        }
        Ok(removed)
    }

    fn grace(&self, task: TaskId) -> Duration {
        let asked =
            self.orders.get(&task).map(|order| order.borrow().assignment.template.spec.container.stop_grace_period);
        asked.unwrap_or(ContainerSpec::STOP_GRACE_PERIOD)
    }
}
