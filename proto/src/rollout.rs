//! How a service passes from one template to the next, and how far it has come.

use std::{collections::BTreeSet, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    id::{NodeId, TaskId},
    task::{Evidence, Slot},
    time::Timestamp,
    version::TemplateVersion,
};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UpdateOrder {
    /// Start-first, except where a slot cannot run twice: a host port, a writable volume, or at most one task wanted.
    #[default]
    Auto,
    StartFirst,
    /// The old task is gone before the new one starts.
    StopFirst,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureAction {
    Pause,
    Continue,
    /// Swarm's default is pause, which leaves a half-updated service behind until someone looks.
    #[default]
    Rollback,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateConfig {
    /// Slots replaced at once. Zero: all.
    pub parallelism: u32,
    /// Pause after a slot is done before the next one starts in its place.
    pub delay: Duration,
    pub failure_action: FailureAction,
    /// A new task that fails within this span after it became ready counts against the rollout.
    pub monitor: Duration,
    /// Share of the slots that may fail: 0.0 to 1.0.
    pub max_failure_ratio: f32,
    pub order: UpdateOrder,
    /// Without any slot becoming done for this long the rollout has failed. Zero: no deadline.
    pub progress_deadline: Duration,
    /// Slots that each update replaces first; it goes on with the others, or ends where there are none, once they are
    /// promoted. Zero: none.
    #[serde(default)]
    pub canary: u32,
}

impl UpdateConfig {
    pub const PROGRESS_DEADLINE: Duration = Duration::from_secs(600);
    pub const MONITOR: Duration = Duration::from_secs(5);
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            parallelism: 1,
            delay: Duration::ZERO,
            failure_action: FailureAction::default(),
            monitor: Self::MONITOR,
            max_failure_ratio: 0.0,
            order: UpdateOrder::default(),
            progress_deadline: Self::PROGRESS_DEADLINE,
            canary: 0,
        }
    }
}

/// The Docker Engine API's UpdateStatus states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RolloutState {
    Updating,
    Paused,
    Completed,
    RollbackStarted,
    RollbackPaused,
    RollbackCompleted,
}

impl RolloutState {
    /// Slots are being replaced.
    #[must_use]
    pub fn is_moving(self) -> bool {
        match self {
            RolloutState::Updating | RolloutState::RollbackStarted => true,
            RolloutState::Paused
            | RolloutState::Completed
            | RolloutState::RollbackPaused
            | RolloutState::RollbackCompleted => false,
        }
    }

    #[must_use]
    pub fn is_rollback(self) -> bool {
        match self {
            RolloutState::RollbackStarted | RolloutState::RollbackPaused | RolloutState::RollbackCompleted => true,
            RolloutState::Updating | RolloutState::Paused | RolloutState::Completed => false,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RolloutState::Updating => "updating",
            RolloutState::Paused => "paused",
            RolloutState::Completed => "completed",
            RolloutState::RollbackStarted => "rollback_started",
            RolloutState::RollbackPaused => "rollback_paused",
            RolloutState::RollbackCompleted => "rollback_completed",
        }
    }
}

/// What a paused rollout waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hold {
    /// Somebody mends what failed.
    Failure,
    /// Somebody who paused it resumes it.
    ByHand,
    /// Its canaries work, and somebody promotes them.
    Canary,
}

impl Hold {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Hold::Failure => "failure",
            Hold::ByHand => "by-hand",
            Hold::Canary => "canary",
        }
    }
}

/// How far a new version has shown that it works. Only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Trust {
    /// Until its first batch has lived through the monitor window nothing else is replaced.
    #[default]
    Unproven,
    Proven,
    /// Its canaries were promoted.
    Promoted,
}

/// One task that failed under a rollout, kept when its row is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutFailure {
    pub task_id: TaskId,
    pub slot: Slot,
    pub node_id: Option<NodeId>,
    pub at: Timestamp,
    pub error: String,
    pub exit_code: Option<i32>,
    pub evidence: Option<Box<Evidence>>,
}

/// Replicated with the service, so that a new leader goes on where the old one was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub state: RolloutState,
    pub target: TemplateVersion,
    pub started_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    /// When a slot last became done; the progress deadline counts from here.
    pub progressed_at: Timestamp,
    /// Slots whose new task became ready at least once, or ended as it should.
    pub done: BTreeSet<Slot>,
    /// Slots whose new task failed before or inside the monitor window.
    pub failed: BTreeSet<Slot>,
    /// The first failures; at most [`Rollout::FAILURES_MAX`]. A rollback's begin with some of those that led to it.
    pub failures: Vec<RolloutFailure>,
    /// Why it is in this state, for the user.
    pub message: String,
    /// While it is paused. None: an earlier version paused it, for a failure.
    #[serde(default)]
    pub hold: Option<Hold>,
    #[serde(default)]
    pub trust: Trust,
    /// Slots that it replaced before it is promoted, where the service asks for canaries.
    #[serde(default)]
    pub canaries: BTreeSet<Slot>,
}

impl Rollout {
    pub const FAILURES_MAX: usize = 8;
}

/// As flags take it.
impl fmt::Display for UpdateOrder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            UpdateOrder::Auto => "auto",
            UpdateOrder::StartFirst => "start-first",
            UpdateOrder::StopFirst => "stop-first",
        })
    }
}

/// As flags take it.
impl fmt::Display for FailureAction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            FailureAction::Pause => "pause",
            FailureAction::Continue => "continue",
            FailureAction::Rollback => "rollback",
        })
    }
}
