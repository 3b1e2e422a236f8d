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
    match task.status.state {
        // Nobody here told it to stop: its agent did, because it was cut off, or its node was removed. That is no
        // failure of the task.
        TaskState::Shutdown | TaskState::Orphaned => {
            return AfterEnd::Restart { pause: Duration::ZERO, record: task.restarts.clone() };
        }
        TaskState::New
        | TaskState::Pending
        | TaskState::Assigned
        | TaskState::Accepted
        | TaskState::Preparing
        | TaskState::Ready
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Complete
        | TaskState::Failed
        | TaskState::Rejected => {}
    }
    let policy = &task.template.spec.restart;
    if !wants_restart(policy.condition, task.status.state) {
        return AfterEnd::Stay(Why::Condition);
    }
    let recent = recent_attempts(policy, &task.restarts, task.status.at);
    let used = if policy.window.is_zero() { task.restarts.attempts } else { count(&recent) };
    if let Some(max_attempts) = policy.max_attempts.filter(|max| used >= *max) {
        return AfterEnd::Stay(Why::AttemptsUsedUp { max_attempts });
    }
    again(task, now)
}

/// One more attempt, whatever the policy says of whether there is to be one.
pub(super) fn again(task: &Task, now: Timestamp) -> AfterEnd {
    let policy = &task.template.spec.restart;
    // An end without error that comes quickly, again and again, is as much of a loop as a crash.
    let owed = if ran_stably(&task.status) { 0 } else { task.restarts.failures };
    let failures = owed.saturating_add(1);
    let mut recent = recent_attempts(policy, &task.restarts, task.status.at);
    recent.push(now);
    let skipped = recent.len().saturating_sub(RestartRecord::RECENT_MAX);
    recent.drain(..skipped);
    AfterEnd::Restart {
        pause: policy.delay.unwrap_or_else(|| RestartPolicy::backoff(failures)).max(pause_min(task, failures)),
        record: RestartRecord { failures, attempts: task.restarts.attempts.saturating_add(1), recent },
    }
}

/// What a task hands on that is replaced for no fault of its own: failures before it ran stably are forgotten.
pub(super) fn carried(task: &Task, now: Timestamp) -> RestartRecord {
    let is_stable = task.status.state == TaskState::Running
        && task.status.running_at.is_some_and(|since| now.since(since) >= RestartPolicy::STABLE_AFTER);
    let failures = if is_stable { 0 } else { task.restarts.failures };
    RestartRecord { failures, ..task.restarts.clone() }
}

/// Each start of a crash loop costs the log a few entries: from the second failure in a row on they are
/// [`RestartPolicy::LOOP_MIN`] apart, whatever pause was asked for.
fn pause_min(task: &Task, failures: u32) -> Duration {
    let started_at = task.start_after.unwrap_or(task.created_at).min(task.status.at);
    if failures < 2 { Duration::ZERO } else { (started_at + RestartPolicy::LOOP_MIN).since(task.status.at) }
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

pub(super) fn ran_stably(status: &TaskStatus) -> bool {
    status.running_at.is_some_and(|since| status.at.since(since) >= RestartPolicy::STABLE_AFTER)
}

fn count(attempts: &[Timestamp]) -> u32 {
    u32::try_from(attempts.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plan::schedule::fixture;

    const SECOND: Duration = Duration::from_secs(1);

    /// A task that ran for `ran` and ended at 1,000 s.
    fn ended(policy: RestartPolicy, state: TaskState, ran: Duration, restarts: RestartRecord) -> Task {
        let at = Timestamp::from_millis(1_000_000);
        let running_at = Timestamp::from_millis(at.millis() - u64::try_from(ran.as_millis()).expect("a short run"));
        let mut task = fixture::task(1, &fixture::service(1), 1, &fixture::node(1));
        Arc::make_mut(&mut task.template).spec.restart = policy;
        task.status = TaskStatus { running_at: Some(running_at), ..TaskStatus::new(state, at, "") };
        task.restarts = restarts;
        task
    }

    fn pause(task: &Task) -> Option<(Duration, u32)> {
        match after_end(task, task.status.at) {
            AfterEnd::Restart { pause, record } => Some((pause, record.failures)),
            AfterEnd::Stay(_) => None,
        }
    }

    fn failed(times: u32) -> RestartRecord {
        RestartRecord { failures: times, attempts: times, recent: Vec::new() }
    }

    #[test]
    fn a_stable_run_pays_for_the_failures_before_it() {
        let policy = RestartPolicy::default();
        let short = ended(policy.clone(), TaskState::Failed, RestartPolicy::STABLE_AFTER - SECOND, failed(4));
        assert_eq!(pause(&short), Some((SECOND * 8, 5)));
        let long = ended(policy, TaskState::Failed, RestartPolicy::STABLE_AFTER, failed(4));
        assert_eq!(pause(&long), Some((SECOND / 2, 1)));
    }

    #[test]
    fn a_fixed_delay_does_not_grow() {
        let policy = RestartPolicy { delay: Some(SECOND * 3), ..RestartPolicy::default() };
        assert_eq!(pause(&ended(policy, TaskState::Failed, SECOND, failed(9))), Some((SECOND * 3, 10)));
    }

    #[test]
    fn a_loop_without_a_delay_starts_once_a_second() {
        let policy = RestartPolicy { delay: Some(Duration::ZERO), ..RestartPolicy::default() };
        let crashed = |failures| {
            let mut task = ended(policy.clone(), TaskState::Failed, Duration::ZERO, failed(failures));
            task.start_after = Some(Timestamp::from_millis(task.status.at.millis() - 300));
            pause(&task).map(|(pause, _)| pause)
        };
        assert_eq!(crashed(0), Some(Duration::ZERO), "a single failure costs little");
        assert_eq!(crashed(1), Some(Duration::from_millis(700)));
        assert_eq!(crashed(9), Some(Duration::from_millis(700)));
    }

    #[test]
    fn what_its_node_took_along_is_no_failure() {
        let policy = RestartPolicy { condition: RestartCondition::None, ..RestartPolicy::default() };
        let lost = ended(policy, TaskState::Orphaned, SECOND, failed(4));
        assert_eq!(pause(&lost), Some((Duration::ZERO, 4)));
    }

    #[test]
    fn the_condition_decides_by_how_it_ended() {
        let after = |condition, state| {
            let policy = RestartPolicy { condition, ..RestartPolicy::default() };
            pause(&ended(policy, state, SECOND, failed(0))).is_some()
        };
        assert!(after(RestartCondition::Any, TaskState::Complete));
        assert!(after(RestartCondition::OnFailure, TaskState::Rejected));
        assert!(!after(RestartCondition::OnFailure, TaskState::Complete));
        assert!(!after(RestartCondition::None, TaskState::Failed));
    }

    #[test]
    fn attempts_count_for_ever_or_inside_the_window() {
        let policy = |window| RestartPolicy { max_attempts: Some(2), window, ..RestartPolicy::default() };
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let record = RestartRecord { failures: 2, attempts: 2, recent: vec![at(900), at(995)] };
        let task = |window| ended(policy(window), TaskState::Failed, SECOND, record.clone());
        let used_up = AfterEnd::Stay(Why::AttemptsUsedUp { max_attempts: 2 });
        assert_eq!(after_end(&task(Duration::ZERO), at(1_000)), used_up);
        assert_eq!(after_end(&task(SECOND * 200), at(1_000)), used_up);
        assert_eq!(after_end(&task(SECOND * 200), at(9_000)), used_up, "the answer does not change with time");
        let AfterEnd::Restart { record, .. } = after_end(&task(SECOND * 50), at(1_000)) else { panic!("one is left") };
        assert_eq!(record.recent, [at(995), at(1_000)], "what is outside the window is dropped");
    }

    #[test]
    fn what_ran_stably_hands_no_failures_on() {
        let now = Timestamp::from_millis(1_000_000);
        let running_for = |ran| {
            let mut task = ended(RestartPolicy::default(), TaskState::Running, ran, failed(3));
            task.status.at = now;
            carried(&task, now).failures
        };
        assert_eq!(running_for(RestartPolicy::STABLE_AFTER - SECOND), 3);
        assert_eq!(running_for(RestartPolicy::STABLE_AFTER), 0);
    }
}
