//! What a manager tells an agent, and what it hears back. Both sides are level-triggered: the whole set first, then
//! the differences.

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    endpoint::PortConfig,
    id::{NodeId, ServiceId, TaskId},
    resources::Limits,
    task::{Slot, TaskStatus, Template},
    task_state::DesiredState,
    version::Fence,
};

/// What an agent says it speaks in its Hello. Counted up with a change that the other side could misread.
pub const SESSION_PROTOCOL: u32 = 1;

/// In the metadata of a refusal for want of leadership: the address of the manager that leads.
pub const LEADER_METADATA: &str = "muster-leader";

/// The longest message of an agent that a manager takes. An agent splits its reports and log chunks to stay below.
pub const AGENT_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The longest message of a manager that an agent takes: the complete set of a node that holds thousands of tasks.
pub const MANAGER_MESSAGE_BYTES_MAX: usize = 64 << 20;

/// One task of this node. Persisted by the agent before it acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    pub task_id: TaskId,
    pub service_id: ServiceId,
    pub service_name: String,
    pub slot: Slot,
    pub fence: Fence,
    pub desired: DesiredState,
    pub template: Arc<Template>,
    /// The template's limits with the cluster's defaults filled in.
    pub limits: Limits,
}

/// A ready task that an ingress port may send connections to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    pub task_id: TaskId,
    pub node_id: NodeId,
    /// Of the container, as its own node reaches it.
    pub address: IpAddr,
    /// Where that node is reached: `host:port`.
    pub node_address: String,
}

/// One service with ingress ports, as every node needs to know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngressService {
    pub service_id: ServiceId,
    pub ports: Vec<PortConfig>,
    /// Ordered by task id. Tasks that shall stop are not in it.
    pub backends: Vec<Backend>,
}

/// An agent's word on one of its tasks, under the fence of the assignment it acts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskReport {
    pub task_id: TaskId,
    pub fence: Fence,
    pub status: TaskStatus,
}
