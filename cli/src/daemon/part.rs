//! A part of the daemon that runs by itself: a task that is told to stop and waited for.

use std::time::Duration;

use anyhow::anyhow;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// How long a part may take to stop before it is left to end with the process.
const STOP_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Part {
    name: &'static str,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Part {
    /// `failures` hears of a part that ends by itself.
    pub(super) fn run<F>(
        name: &'static str,
        failures: &mpsc::Sender<anyhow::Error>,
        part: impl FnOnce(CancellationToken) -> F,
    ) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let (work, told, failures) = (part(shutdown.clone()), shutdown.clone(), failures.clone());
        let task = tokio::spawn(async move {
            let failure = match work.await {
                Err(error) => error,
                Ok(()) if told.is_cancelled() => return,
                Ok(()) => anyhow!("the {name} ended by itself"),
            };
            tracing::error!("the {name} failed: {failure:#}");
            // The daemon may be stopping already, and then nobody needs to hear of it.
            drop(failures.send(failure).await);
        });
        Self { name, shutdown, task }
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        if tokio::time::timeout(STOP_GRACE, self.task).await.is_err() {
            tracing::warn!("the {} did not stop within {STOP_GRACE:?}", self.name);
        }
    }
}
