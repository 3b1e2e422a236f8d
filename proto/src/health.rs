//! The health check a service asks for. The agent runs it, whatever the executor.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Probe {
    /// Run in the container; exit code 0 passes. One element is given to the container's shell, as Docker's CMD-SHELL.
    Command { argv: Vec<String>, shell: bool },
    /// `GET` on the container's address; 200..=399 passes.
    Http { port: u16, path: String },
    /// A connection that opens passes.
    Tcp { port: u16 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HealthCheck {
    pub probe: Probe,
    /// Pause between the end of one probe and the start of the next, once the task has been ready.
    pub interval: Duration,
    pub timeout: Duration,
    /// This many failures in a row and the task is unhealthy.
    pub retries: u32,
    /// Failures in this span after the start are not counted; a pass ends it.
    pub start_period: Duration,
}

impl HealthCheck {
    /// Docker's defaults are 30 s, 30 s, 3: a rollout would wait half a minute for each task's first probe.
    pub const INTERVAL: Duration = Duration::from_secs(5);
    pub const TIMEOUT: Duration = Duration::from_secs(5);
    pub const RETRIES: u32 = 3;
    pub const START_PERIOD: Duration = Duration::ZERO;
}

/// What a service says of health checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HealthPolicy {
    /// The image's own HEALTHCHECK where it has one.
    #[default]
    FromImage,
    /// None, even where the image has one.
    Disabled,
    Check(HealthCheck),
}
