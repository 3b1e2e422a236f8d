//! What runs inside a task's container. Field names follow the Docker Engine API's ContainerSpec.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{health::HealthPolicy, mount::Mount, pin::ImagePin};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ulimit {
    pub name: String,
    /// -1: no limit.
    pub soft: i64,
    pub hard: i64,
}

impl Ulimit {
    /// The soft limit is above the hard one, which no kernel accepts.
    #[must_use]
    pub fn is_inverted(&self) -> bool {
        self.hard != -1 && (self.soft == -1 || self.soft > self.hard)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// As the user wrote it.
    pub image: String,
    /// What `image` was resolved to; None when nothing could resolve it, and then the agent pulls the tag.
    pub pin: Option<ImagePin>,
    /// Labels of the container, not of the service.
    pub labels: BTreeMap<String, String>,
    /// Replaces the image's ENTRYPOINT (the API's `Command`). Empty: the image's own.
    pub entrypoint: Vec<String>,
    /// Replaces the image's CMD. Empty: the image's own.
    pub args: Vec<String>,
    /// `KEY=value` each.
    pub env: Vec<String>,
    pub workdir: Option<String>,
    pub user: Option<String>,
    pub hostname: Option<String>,
    pub mounts: Vec<Mount>,
    pub read_only: bool,
    /// Run the engine's init as PID 1.
    pub init: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub ulimits: Vec<Ulimit>,
    /// None: the image's own, else SIGTERM.
    pub stop_signal: Option<String>,
    /// From the stop signal to SIGKILL; connections drain within it too.
    pub stop_grace_period: Duration,
    pub health: HealthPolicy,
}

impl ContainerSpec {
    /// Docker's own.
    pub const STOP_GRACE_PERIOD: Duration = Duration::from_secs(10);
    /// Labels of containers by which agents know their own start with it; users cannot set them.
    pub const RESERVED_LABELS: &str = "muster.";

    #[must_use]
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            pin: None,
            labels: BTreeMap::new(),
            entrypoint: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            workdir: None,
            user: None,
            hostname: None,
            mounts: Vec::new(),
            read_only: false,
            init: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            ulimits: Vec::new(),
            stop_signal: None,
            stop_grace_period: Self::STOP_GRACE_PERIOD,
            health: HealthPolicy::default(),
        }
    }
}
