//! A task: one attempt to fill one slot of a service on one node. It never moves and never restarts.

use std::{fmt, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    container::ContainerSpec,
    endpoint::PortConfig,
    id::{NodeId, ServiceId, TaskId},
    isolation::OnIsolation,
    placement::Placement,
    resources::ResourceRequirements,
    restart::{RestartPolicy, RestartRecord},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    version::{Fence, TemplateVersion, Version},
    waiting::WaitingOn,
};

/// The API's TaskTemplate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskSpec {
    pub container: ContainerSpec,
    pub resources: ResourceRequirements,
    pub restart: RestartPolicy,
    pub placement: Placement,
    /// Counted up by `--force`: the only difference that makes new tasks of an otherwise equal template.
    pub force_update: u64,
    #[serde(default)]
    pub on_isolation: OnIsolation,
}

impl TaskSpec {
    #[must_use]
    pub fn new(container: ContainerSpec) -> Self {
        Self {
            container,
            resources: ResourceRequirements::default(),
            restart: RestartPolicy::default(),
            placement: Placement::default(),
            force_update: 0,
            on_isolation: OnIsolation::default(),
        }
    }
}

/// All that makes two tasks alike: the spec, and the host ports that the container is created with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Template {
    pub spec: TaskSpec,
    pub host_ports: Vec<PortConfig>,
}

/// The identity of a place to be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slot {
    /// Replicated: 1 to the number of replicas.
    Number(u32),
    /// Global: one for each node.
    Node(NodeId),
}

/// What a task that ended by itself leaves for the one who asks why. Bounded by whoever makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub log_tail: Vec<String>,
    /// Output of the last failed health check.
    pub health: Option<String>,
    pub oom_killed: bool,
}

impl Evidence {
    pub const LOG_LINES_MAX: usize = 10;
    /// Of each log line and of the health output.
    pub const TEXT_BYTES_MAX: usize = 512;
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStatus {
    pub state: TaskState,
    /// When `state` was entered: the leader's stamp for its own steps, the agent's clock for an agent's.
    pub at: Timestamp,
    /// When the task became Running, kept after it ended.
    pub running_at: Option<Timestamp>,
    /// What happens now, in a few words.
    pub message: String,
    /// What went wrong, in full.
    pub error: Option<String>,
    pub exit_code: Option<i32>,
    pub container_id: Option<String>,
    /// Of the container, on its node.
    pub address: Option<IpAddr>,
    pub evidence: Option<Box<Evidence>>,
    /// The agent has removed the container (or never made one).
    pub removed: bool,
}

impl TaskStatus {
    pub const MESSAGE_BYTES_MAX: usize = 1024;

    #[must_use]
    pub fn new(state: TaskState, at: Timestamp, message: impl Into<String>) -> Self {
        Self {
            state,
            at,
            running_at: None,
            message: message.into(),
            error: None,
            exit_code: None,
            container_id: None,
            address: None,
            evidence: None,
            removed: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub version: Version,
    pub created_at: Timestamp,
    pub service_id: ServiceId,
    /// Kept here because a task can outlive its service.
    pub service_name: String,
    pub slot: Slot,
    pub template_version: TemplateVersion,
    pub template: Arc<Template>,
    pub node_id: Option<NodeId>,
    /// Zero until the task has a node.
    pub fence: Fence,
    pub desired: DesiredState,
    pub status: TaskStatus,
    /// While `desired` is Ready: when the restart policy lets it start.
    pub start_after: Option<Timestamp>,
    pub restarts: RestartRecord,
    /// Why it has no node, or is not released; from the very value the planner used.
    pub waiting: Option<WaitingOn>,
    /// It is to be replaced by one on that node, and serves until that one does: part of a rebalance.
    pub moves_to: Option<NodeId>,
}

impl Task {
    /// Wanted to run, now or once released, and not ended.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.desired <= DesiredState::Running && !self.status.state.is_final()
    }

    /// Holds its node's resources and ports until the agent says that it ended.
    #[must_use]
    pub fn holds_resources(&self) -> bool {
        self.node_id.is_some() && !self.status.state.is_final()
    }

    /// `web.3`, or `web.<node id>` in a global service.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.service_name, self.slot)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Slot::Number(number) => number.fmt(out),
            Slot::Node(node) => node.fmt(out),
        }
    }
}
