//! The closed list of what a plan may do. An action leaves nothing to look up or choose when it is applied, and names
//! the version of the object it was made for: one that changed since is left alone and the rest of the plan goes on.

use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    restart::RestartRecord,
    rollout::{Rollout, Trust},
    task::Slot,
    task_state::DesiredState,
    time::Timestamp,
    version::{TemplateVersion, Version},
    waiting::WaitingOn,
};
use serde::{Deserialize, Serialize};

use crate::command::{FIRST, REBALANCE, SEVERAL_MANAGERS};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// A new attempt at a slot. Stale when the service is gone or no longer knows the template.
    CreateTask {
        id: TaskId,
        service_id: ServiceId,
        slot: Slot,
        /// The highest version among the slot's tasks; stale when one of them has changed since.
        slot_version: Version,
        template_version: TemplateVersion,
        /// Ready or Running.
        desired: DesiredState,
        start_after: Option<Timestamp>,
        restarts: RestartRecord,
        /// None: it waits, and why.
        placement: Result<NodeId, WaitingOn>,
    },
    /// The task's node. The fence is the log index of this commit.
    AssignTask {
        id: TaskId,
        version: Version,
        node_id: NodeId,
    },
    SetDesired {
        id: TaskId,
        version: Version,
        desired: DesiredState,
    },
    SetWaiting {
        id: TaskId,
        version: Version,
        waiting: Option<WaitingOn>,
    },
    /// The task's node was lost, and with it all knowledge of the task.
    OrphanTask {
        id: TaskId,
        version: Version,
    },
    /// A task that was to move stays: it cannot any more, or what was to take its place failed.
    KeepTask {
        id: TaskId,
        version: Version,
    },
    /// The row goes: its agent has confirmed the removal, it never had a node, or it is history past the limit.
    ForgetTask {
        id: TaskId,
        version: Version,
    },
    /// How far the rollout has come.
    SetRollout {
        service_id: ServiceId,
        version: Version,
        rollout: Box<Rollout>,
    },
    /// The previous spec becomes the present one; `rollout` describes the way back.
    StartRollback {
        service_id: ServiceId,
        version: Version,
        rollout: Box<Rollout>,
    },
}

impl Action {
    /// The lowest log format that has all that it holds: a manager of one below would keep another state of it.
    pub(crate) fn format(&self) -> u16 {
        let is_of_several_managers = match self {
            Action::KeepTask { .. } => return REBALANCE,
            Action::CreateTask { placement: Err(waiting), .. } | Action::SetWaiting { waiting: Some(waiting), .. } => {
                is_newer(waiting)
            }
            Action::SetRollout { rollout, .. } | Action::StartRollback { rollout, .. } => {
                rollout.hold.is_some() || rollout.trust != Trust::Unproven
            }
            Action::CreateTask { placement: Ok(_), .. }
            | Action::SetWaiting { waiting: None, .. }
            | Action::AssignTask { .. }
            | Action::SetDesired { .. }
            | Action::OrphanTask { .. }
            | Action::ForgetTask { .. } => false,
        };
        if is_of_several_managers { SEVERAL_MANAGERS } else { FIRST }
    }
}

fn is_newer(waiting: &WaitingOn) -> bool {
    match waiting {
        WaitingOn::Isolation { .. } | WaitingOn::Turn | WaitingOn::Outage { .. } => true,
        WaitingOn::NoSuitableNode { .. }
        | WaitingOn::NoNodes
        | WaitingOn::RestartDelay { .. }
        | WaitingOn::Predecessor
        | WaitingOn::RestartsUsedUp { .. } => false,
    }
}
