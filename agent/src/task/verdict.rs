//! What an executor's error means for the task it was met on. Pure.
//!
//! An engine that is away decides nothing: whatever was being done is done again when it is back.

use std::time::Duration;

use super::ending::Ending;
use crate::executor::ExecutorError;

/// Tries of a preparation or a start that the engine answers with an error another try may not meet. After them the
/// task fails, and its restart policy goes on from there with a new one.
const TRIES_MAX: u32 = 3;

/// Pauses between tries: doubled from the first to the longest, which bounds how late a task notices that its engine
/// is back.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Preparing,
    Starting,
    Watching,
    Stopping,
    Removing,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Again after a pause; until then, this is what happens.
    Retry(String),
    End(Ending),
    /// There is no such container (any more).
    Gone,
}

/// `tries` counts this one.
pub(super) fn of_error(doing: Doing, error: &ExecutorError, tries: u32) -> Verdict {
    match (doing, error) {
        (_, ExecutorError::Unavailable(_)) => Verdict::Retry(format!("{error}; waits for it")),
        (Doing::Preparing | Doing::Starting, ExecutorError::Refused(why)) => {
            Verdict::End(Ending::rejected(why.clone()))
        }
        (Doing::Preparing | Doing::Starting, ExecutorError::Failed(why)) if tries < TRIES_MAX => {
            Verdict::Retry(format!("tries again: {why}"))
        }
        // As in Swarm: without a container there was nothing that could have failed. The planner tells the two apart,
        // so as not to prepare the next attempt before its pause is over.
        (Doing::Preparing, ExecutorError::Failed(why)) => Verdict::End(Ending::rejected(why.clone())),
        (Doing::Starting, ExecutorError::Failed(why)) => Verdict::End(Ending::failed(why.clone())),
        (Doing::Preparing, ExecutorError::Gone) => {
            Verdict::Retry("the container was removed while it was made".to_owned())
        }
        (Doing::Starting | Doing::Watching | Doing::Stopping | Doing::Removing, ExecutorError::Gone) => Verdict::Gone,
        (
            Doing::Watching | Doing::Stopping | Doing::Removing,
            ExecutorError::Refused(why) | ExecutorError::Failed(why),
        ) => Verdict::Retry(format!("tries again: {why}")),
    }
}

/// Before try number `tries` + 1.
pub(super) fn pause(tries: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::task_state::TaskState;

    #[test]
    fn an_engine_that_is_away_ends_no_task() {
        let away = ExecutorError::Unavailable("connection refused".to_owned());
        for doing in [Doing::Preparing, Doing::Starting, Doing::Watching, Doing::Stopping, Doing::Removing] {
            let verdict = of_error(doing, &away, u32::MAX);
            let Verdict::Retry(message) = verdict else { panic!("{doing:?}: {verdict:?}") };
            assert_eq!(message, "engine unavailable: connection refused; waits for it");
        }
    }

    #[test]
    fn what_can_never_start_here_is_rejected_and_what_fails_repeatedly_fails() {
        let ended_in = |doing, error, tries| match of_error(doing, &error, tries) {
            Verdict::End(ending) => Some(ending.state),
            Verdict::Retry(_) | Verdict::Gone => None,
        };
        let ended = |error, tries| ended_in(Doing::Starting, error, tries);
        assert_eq!(ended(ExecutorError::Refused("no such command".to_owned()), 1), Some(TaskState::Rejected));
        assert_eq!(ended(ExecutorError::Failed("port taken".to_owned()), 1), None);
        assert_eq!(ended(ExecutorError::Failed("port taken".to_owned()), TRIES_MAX), Some(TaskState::Failed));
        let unpulled = || ExecutorError::Failed("connection refused".to_owned());
        assert_eq!(ended_in(Doing::Preparing, unpulled(), TRIES_MAX - 1), None);
        assert_eq!(ended_in(Doing::Preparing, unpulled(), TRIES_MAX), Some(TaskState::Rejected));
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        let shown: Vec<_> = (1..=7).map(|tries| pause(tries).as_millis()).collect();
        assert_eq!(shown, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
