//! What the manager asks of its own host before it accepts a spec, answered by the agent's parts.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use muster_agent::executor::Executor;
use muster_manager::preflight::Preflight;
use muster_proto::pin::{ImagePin, Unresolved};

#[derive(Debug)]
pub(super) struct LocalHost {
    executor: Arc<dyn Executor>,
    /// Set once the agent is open; a manager that is asked before has published nothing here yet.
    ingress: OnceLock<muster_agent::ingress::Handle>,
}

impl LocalHost {
    pub(super) fn new(executor: Arc<dyn Executor>) -> Self {
        Self { executor, ingress: OnceLock::new() }
    }

    pub(super) fn attach(&self, ingress: muster_agent::ingress::Handle) {
        // Set once for each agent, and each agent has its own LocalHost.
        drop(self.ingress.set(ingress));
    }
}

#[async_trait]
impl Preflight for LocalHost {
    async fn resolve_image(&self, image: &str) -> Result<ImagePin, Unresolved> {
        self.executor.resolve(image).await
    }

    async fn check_ingress_port(&self, port: u16) -> Result<(), String> {
        match self.ingress.get() {
            Some(ingress) => ingress.check_port(port).await,
            None => Ok(()),
        }
    }
}
