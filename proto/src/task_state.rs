//! The one ordered list of task states, and which component owns each step along it (after SwarmKit's
//! `design/task_model.md`).
//!
//! A task's state only grows. Nothing matches on it with a wildcard arm, so a new state breaks compilation wherever it
//! matters.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::restart::RestartCondition;

/// Observed: what has become of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Made by the orchestrator; its ports are not allocated.
    New,
    /// Waits for a node.
    Pending,
    /// Has a node, which has not heard of it yet.
    Assigned,
    /// The agent holds it on disk.
    Accepted,
    /// The agent gets the image and creates the container.
    Preparing,
    /// Everything is there; waits for its desired state to become Running.
    Ready,
    /// The container is being started, or runs and has not passed its health check.
    Starting,
    /// Runs and is ready for traffic.
    Running,
    /// Ended by itself, with success.
    Complete,
    /// Ended because it was told to.
    Shutdown,
    /// Ended by itself, without success.
    Failed,
    /// Could never start here.
    Rejected,
    /// Its node was lost; what became of it is not known.
    Orphaned,
}

/// Who may move a task out of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Allocator,
    Scheduler,
    Agent,
    /// Nobody: the state is final.
    Nobody,
}

/// Wanted: what a task should become. Only grows, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DesiredState {
    /// Prepare, and wait there.
    Ready,
    Running,
    /// Leave the ingress, drain, stop; the row and the container stay as history.
    Shutdown,
    /// As Shutdown, then remove the container; the row goes when the agent has confirmed it.
    Remove,
}

impl TaskState {
    pub const ALL: [TaskState; 13] = [
        TaskState::New,
        TaskState::Pending,
        TaskState::Assigned,
        TaskState::Accepted,
        TaskState::Preparing,
        TaskState::Ready,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Complete,
        TaskState::Shutdown,
        TaskState::Failed,
        TaskState::Rejected,
        TaskState::Orphaned,
    ];

    #[must_use]
    pub fn owner(self) -> Owner {
        match self {
            TaskState::New => Owner::Allocator,
            TaskState::Pending => Owner::Scheduler,
            TaskState::Assigned
            | TaskState::Accepted
            | TaskState::Preparing
            | TaskState::Ready
            | TaskState::Starting
            | TaskState::Running => Owner::Agent,
            TaskState::Complete
            | TaskState::Shutdown
            | TaskState::Failed
            | TaskState::Rejected
            | TaskState::Orphaned => Owner::Nobody,
        }
    }

    /// No container of it runs any more, as far as anyone can know.
    #[must_use]
    pub fn is_final(self) -> bool {
        self.owner() == Owner::Nobody
    }

    /// Ended in a way that a rollout and a restart policy count as a failure.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            TaskState::Failed | TaskState::Rejected | TaskState::Orphaned => true,
            TaskState::New
            | TaskState::Pending
            | TaskState::Assigned
            | TaskState::Accepted
            | TaskState::Preparing
            | TaskState::Ready
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Complete
            | TaskState::Shutdown => false,
        }
    }

    /// An end of which the agent can tell, and that the service did not want. One that is to run for ever and ends does
    /// not work, whatever its exit code.
    #[must_use]
    pub fn failed_by_itself(self, condition: RestartCondition) -> bool {
        match self {
            TaskState::Failed | TaskState::Rejected => true,
            TaskState::Complete => condition == RestartCondition::Any,
            TaskState::New
            | TaskState::Pending
            | TaskState::Assigned
            | TaskState::Accepted
            | TaskState::Preparing
            | TaskState::Ready
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Shutdown
            // Its node was lost: that says nothing of the service.
            | TaskState::Orphaned => false,
        }
    }

    /// States only grow; an agent may skip some.
    #[must_use]
    pub fn may_become(self, next: TaskState) -> bool {
        !self.is_final() && next > self
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            TaskState::New => "New",
            TaskState::Pending => "Pending",
            TaskState::Assigned => "Assigned",
            TaskState::Accepted => "Accepted",
            TaskState::Preparing => "Preparing",
            TaskState::Ready => "Ready",
            TaskState::Starting => "Starting",
            TaskState::Running => "Running",
            TaskState::Complete => "Complete",
            TaskState::Shutdown => "Shutdown",
            TaskState::Failed => "Failed",
            TaskState::Rejected => "Rejected",
            TaskState::Orphaned => "Orphaned",
        })
    }
}

impl fmt::Display for DesiredState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            DesiredState::Ready => "Ready",
            DesiredState::Running => "Running",
            DesiredState::Shutdown => "Shutdown",
            DesiredState::Remove => "Remove",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_order_and_final_states_come_last() {
        assert!(TaskState::ALL.is_sorted());
        assert!(TaskState::ALL.is_sorted_by_key(|s| s.is_final()));
    }

    #[test]
    fn nothing_leaves_a_final_state() {
        for from in TaskState::ALL.into_iter().filter(|s| s.is_final()) {
            assert!(TaskState::ALL.into_iter().all(|to| !from.may_become(to)), "{from}");
        }
    }
}
