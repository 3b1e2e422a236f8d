//! What agents say of their tasks. A report counts only from the task's own node, under the fence of its assignment,
//! and forward; everything else is left out alone.

use muster_proto::{
    assignment::TaskReport,
    id::NodeId,
    task::{Evidence, Task, TaskStatus},
    task_state::{Owner, TaskState},
    time::Timestamp,
};

use super::{Stamp, Touched, outcome_of_list};
use crate::{command::Outcome, rejection::Rejection, state::State};

pub(super) fn apply_all(
    state: &mut State,
    stamp: Stamp,
    reports: &[(NodeId, TaskReport)],
    touched: &mut Touched,
) -> Outcome {
    let mut stale = Vec::new();
    for (place, (node, report)) in (0..).zip(reports) {
        if let Err(rejection) = apply_one(state, stamp, *node, report, touched) {
            stale.push((place, rejection));
        }
    }
    outcome_of_list(stamp, stale)
}

fn apply_one(
    state: &mut State,
    stamp: Stamp,
    node: NodeId,
    report: &TaskReport,
    touched: &mut Touched,
) -> Result<(), Rejection> {
    let task = state.task(report.task_id).ok_or(Rejection::NoSuchTask(report.task_id))?;
    if task.node_id != Some(node) || task.fence != report.fence {
        return Err(Rejection::StaleFence);
    }
    let status = merge(task, &report.status, stamp.at)?;
    if status == task.status {
        return Ok(());
    }
    let edited = state.edit_task(report.task_id, |task| {
        task.version = stamp.version();
        task.status = status;
        if task.status.state.is_final() {
            task.waiting = None;
        }
    });
    if let Some((before, after)) = edited {
        touched.task(state, Some(&before), Some(&after));
    }
    Ok(())
}

/// The stored status with what the agent says on top.
fn merge(task: &Task, told: &TaskStatus, now: Timestamp) -> Result<TaskStatus, Rejection> {
    let stored = &task.status;
    let agents_own = match told.state.owner() {
        Owner::Agent => true,
        Owner::Nobody => told.state != TaskState::Orphaned,
        Owner::Allocator | Owner::Scheduler => false,
    };
    if stored.state.is_final() && told.state != stored.state {
        // An agent that lost its memory may call the end by another name; that the container is gone counts all the
        // same, or the row would stay for ever.
        let removed = stored.removed || (told.removed && told.state.is_final());
        return if removed == stored.removed {
            Err(Rejection::NotForward)
        } else {
            Ok(TaskStatus { removed, ..stored.clone() })
        };
    }
    if !agents_own || !(told.state == stored.state || stored.state.may_become(told.state)) {
        return Err(Rejection::NotForward);
    }
    let moved = told.state != stored.state;
    let began = stored.running_at.zip(told.running_at);
    let entered = match began.filter(|_| told.state.is_final()) {
        // How long it ran is measured on one clock, its agent's: a restart's pause and the monitor window hang on it.
        Some((here, there)) if told.at >= there => (here + told.at.since(there)).max(stored.at).min(now),
        Some(_) | None => entered_at(stored, told, now),
    };
    let became_running = told.state == TaskState::Running || told.running_at.is_some();
    Ok(TaskStatus {
        state: told.state,
        at: if moved { entered } else { stored.at },
        running_at: stored.running_at.or(became_running.then_some(now)),
        message: clamped(&told.message, TaskStatus::MESSAGE_BYTES_MAX),
        error: told.error.as_deref().map(|text| clamped(text, TaskStatus::MESSAGE_BYTES_MAX)),
        exit_code: told.exit_code,
        container_id: told.container_id.as_deref().map(|text| clamped(text, TaskStatus::MESSAGE_BYTES_MAX)),
        address: told.address,
        evidence: told.evidence.as_deref().map(|evidence| Box::new(clamped_evidence(evidence))),
        removed: stored.removed || (told.removed && told.state.is_final()),
    })
}

/// The agent's clock, where it can be right: not before the state left behind, and not after now. Restart pauses and
/// monitor windows are counted from this.
fn entered_at(stored: &TaskStatus, told: &TaskStatus, now: Timestamp) -> Timestamp {
    if (stored.at..=now).contains(&told.at) { told.at } else { now }
}

fn clamped(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

fn clamped_evidence(told: &Evidence) -> Evidence {
    let skipped = told.log_tail.len().saturating_sub(Evidence::LOG_LINES_MAX);
    let last = told.log_tail.iter().skip(skipped);
    Evidence {
        log_tail: last.map(|line| clamped(line, Evidence::TEXT_BYTES_MAX)).collect(),
        health: told.health.as_deref().map(|text| clamped(text, Evidence::TEXT_BYTES_MAX)),
        oom_killed: told.oom_killed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::schedule::fixture;

    const NOW: Timestamp = Timestamp::from_millis(10_000);

    fn merged(stored: TaskStatus, told: TaskStatus) -> Result<TaskStatus, Rejection> {
        let mut task = fixture::task(1, &fixture::service(1), 1, &fixture::node(1));
        task.status = stored;
        merge(&task, &told, NOW)
    }

    fn status(state: TaskState, at: u64) -> TaskStatus {
        TaskStatus::new(state, Timestamp::from_millis(at), "")
    }

    #[test]
    fn states_only_grow_and_only_an_agents_own_count() {
        for stored in TaskState::ALL {
            for told in TaskState::ALL {
                let accepted = merged(status(stored, 0), status(told, 1)).is_ok();
                let agents = told.owner() == Owner::Agent || (told.is_final() && told != TaskState::Orphaned);
                let forward = stored == told || stored.may_become(told);
                assert_eq!(accepted, agents && forward, "{stored} to {told}");
            }
        }
    }

    #[test]
    fn an_agents_clock_counts_only_where_it_can_be_right() {
        let entered = |at| merged(status(TaskState::Starting, 5_000), status(TaskState::Running, at)).map(|s| s.at);
        assert_eq!(entered(7_000), Ok(Timestamp::from_millis(7_000)));
        assert_eq!(entered(4_999), Ok(NOW), "before the state it left");
        assert_eq!(entered(10_001), Ok(NOW), "in the future");
    }

    #[test]
    fn it_began_to_run_when_the_managers_heard_of_it_and_that_stays() {
        let running = merged(status(TaskState::Starting, 0), status(TaskState::Running, 7_000)).expect("forward");
        assert_eq!(running.running_at, Some(NOW));
        let ended = merged(running, status(TaskState::Failed, 9_000)).expect("forward");
        assert_eq!(ended.running_at, Some(NOW));
        let skipped = TaskStatus { running_at: Some(Timestamp::EPOCH), ..status(TaskState::Failed, 0) };
        assert_eq!(merged(status(TaskState::Starting, 0), skipped).expect("forward").running_at, Some(NOW));
    }

    /// An agent whose clock is three seconds slow: its times are too early for every state but a final one.
    #[test]
    fn how_long_it_ran_is_measured_on_its_agents_clock() {
        let at = Timestamp::from_millis;
        let told = |state, millis| TaskStatus { running_at: Some(at(2_000)), ..status(state, millis) };
        let running = TaskStatus { running_at: Some(at(5_000)), ..status(TaskState::Running, 5_000) };
        let ended = merged(running.clone(), told(TaskState::Failed, 6_500)).expect("forward");
        assert_eq!((ended.running_at, ended.at), (Some(at(5_000)), at(9_500)));
        let ahead = merged(running, told(TaskState::Failed, 60_000)).expect("forward");
        assert_eq!(ahead.at, NOW, "not after now");
    }

    #[test]
    fn that_it_is_gone_counts_whatever_its_end_is_called() {
        let gone = TaskStatus { removed: true, ..status(TaskState::Shutdown, 0) };
        let merged_end = merged(status(TaskState::Failed, 0), gone).expect("it is gone");
        assert_eq!((merged_end.state, merged_end.removed), (TaskState::Failed, true));
        let alive = TaskStatus { removed: true, ..status(TaskState::Running, 0) };
        assert!(!merged(status(TaskState::Running, 0), alive).expect("the same state").removed);
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        let told = TaskStatus { message: "é".repeat(1_000), ..status(TaskState::Running, 0) };
        let kept = merged(status(TaskState::Starting, 0), told).expect("forward").message;
        assert_eq!(kept.len(), TaskStatus::MESSAGE_BYTES_MAX);
        assert_eq!(clamped("aé", 2), "a");
    }

    #[test]
    fn the_last_log_lines_are_kept() {
        let lines: Vec<String> = (0..30).map(|line| line.to_string()).collect();
        let kept = clamped_evidence(&Evidence { log_tail: lines, health: None, oom_killed: true });
        assert_eq!(kept.log_tail.first().map(String::as_str), Some("20"));
        assert_eq!(kept.log_tail.len(), Evidence::LOG_LINES_MAX);
    }
}
