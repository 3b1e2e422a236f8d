//! What this node says of itself, looked up beside the heartbeat's path: an engine that does not answer must not make
//! the node look dead.

use std::{sync::Arc, time::Duration};

use muster_proto::node::{EngineHealth, NodeDescription};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::executor::{EngineDescription, Executor};

/// Between two looks at an engine that is well. It bounds how long a node with a dead engine is given tasks.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// At one that is not, so that it is used again soon.
const LOOK_PAUSE_UNWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Describer {
    executor: Arc<dyn Executor>,
    hostname: String,
    muster_version: String,
    ingress_problems: watch::Receiver<Vec<String>>,
    /// What keeps assignments from the disk.
    store_problem: watch::Receiver<Option<String>>,
    described: watch::Sender<NodeDescription>,
}

impl Describer {
    /// Has looked once already.
    pub(crate) async fn begin(
        executor: Arc<dyn Executor>,
        hostname: String,
        muster_version: String,
        ingress_problems: watch::Receiver<Vec<String>>,
        store_problem: watch::Receiver<Option<String>>,
    ) -> Self {
        let first = describe(executor.describe().await, &hostname, &muster_version, Vec::new());
        let described = watch::Sender::new(first);
        Self { executor, hostname, muster_version, ingress_problems, store_problem, described }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<NodeDescription> {
        self.described.subscribe()
    }

    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut look_at = Instant::now() + self.pause();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep_until(look_at) => {
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = self.look() => {}
                    }
                    look_at = Instant::now() + self.pause();
                }
                Ok(()) = self.ingress_problems.changed() => {}
                Ok(()) = self.store_problem.changed() => {}
            }
            let ingress = self.ingress_problems.borrow_and_update().clone();
            let store = self.store_problem.borrow_and_update().clone();
            let problems = ingress.into_iter().chain(store).collect();
            self.publish(|description| description.problems = problems);
        }
    }

    fn pause(&self) -> Duration {
        match self.described.borrow().engine_health {
            EngineHealth::Ok => LOOK_PAUSE,
            EngineHealth::Unavailable(_) => LOOK_PAUSE_UNWELL,
        }
    }

    async fn look(&mut self) {
        let engine = self.executor.describe().await;
        self.publish(|description| {
            let problems = std::mem::take(&mut description.problems);
            *description = describe(engine, &self.hostname, &self.muster_version, problems);
        });
    }

    fn publish(&self, change: impl FnOnce(&mut NodeDescription)) {
        self.described.send_if_modified(|description| {
            let before = description.clone();
            change(description);
            *description != before
        });
    }
}

fn describe(engine: EngineDescription, hostname: &str, version: &str, problems: Vec<String>) -> NodeDescription {
    NodeDescription {
        hostname: hostname.to_owned(),
        os: engine.os,
        arch: engine.arch,
        resources: engine.resources,
        engine: engine.name.to_owned(),
        engine_version: engine.version,
        engine_labels: engine.labels,
        engine_health: engine.health,
        problems,
        muster_version: version.to_owned(),
    }
}
