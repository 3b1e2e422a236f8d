//! Whether a task that ended by itself is followed by another, and after what pause.

use std::time::Duration;

use muster_proto::{
    restart::{RestartCondition, RestartPolicy, RestartRecord},
    task::{Task, TaskStatus},
    task_state::TaskState,
    time::Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AfterEnd {
    Restart {
        pause: Duration,
        record: RestartRecord,
    },
    /// The slot stays as it ended, until the template changes.
    Stay(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The condition asks for no restart after such an end.
    Condition,
    AttemptsUsedUp {
        max_attempts: u32,
    },
}

/// `task` has ended by itself.
pub(super) fn after_end(task: &Task, now: Timestamp) -> AfterEnd {
    let policy = &task.template.spec.restart;
    if !wants_restart(policy.condition, task.status.state) {
        return AfterEnd::Stay(Why::Condition);
    }
    let recent = recent_attempts(policy, &task.restarts, task.status.at);
    let used = if policy.window.is_zero() { task.restarts.attempts } else { count(&recent) };
    if let Some(max_attempts) = policy.max_attempts.filter(|max| used >= *max) {
        return AfterEnd::Stay(Why::AttemptsUsedUp { max_attempts });
    }
    // An end without error that comes quickly, again and again, is as much of a loop as a crash.
    let owed = if ran_stably(&task.status) { 0 } else { task.restarts.failures };
    let failures = owed.saturating_add(1);
    let mut recent = recent;
    recent.push(now);
    let skipped = recent.len().saturating_sub(RestartRecord::RECENT_MAX);
    recent.drain(..skipped);
    AfterEnd::Restart {
        pause: policy.delay.unwrap_or_else(|| RestartPolicy::backoff(failures)),
        record: RestartRecord { failures, attempts: task.restarts.attempts.saturating_add(1), recent },
    }
}

fn wants_restart(condition: RestartCondition, ended: TaskState) -> bool {
    match condition {
        RestartCondition::None => false,
        RestartCondition::OnFailure => ended.is_failure(),
        RestartCondition::Any => true,
    }
}

/// Seen from the moment of the end, so that the answer does not change while nothing happens.
fn recent_attempts(policy: &RestartPolicy, record: &RestartRecord, ended_at: Timestamp) -> Vec<Timestamp> {
    if policy.window.is_zero() {
        return Vec::new();
    }
    record.recent.iter().copied().filter(|attempt| ended_at.since(*attempt) < policy.window).collect()
}

fn ran_stably(status: &TaskStatus) -> bool {
    status.running_at.is_some_and(|since| status.at.since(since) >= RestartPolicy::STABLE_AFTER)
}

fn count(attempts: &[Timestamp]) -> u32 {
    u32::try_from(attempts.len()).unwrap_or(u32::MAX)
}
