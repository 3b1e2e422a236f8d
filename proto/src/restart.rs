//! When a task that ended is followed by another in its slot, and how long after.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RestartCondition {
    None,
    OnFailure,
    #[default]
    Any,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RestartPolicy {
    pub condition: RestartCondition,
    /// A fixed pause before each restart. None: [`RestartPolicy::backoff`].
    pub delay: Option<Duration>,
    /// None: without limit.
    pub max_attempts: Option<u32>,
    /// Attempts older than this no longer count towards `max_attempts`. Zero: all count.
    pub window: Duration,
}

impl RestartPolicy {
    pub const BACKOFF_FIRST: Duration = Duration::from_millis(500);
    pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
    /// Between the starts of tasks that fail one after the other, also where the pause asked for is shorter.
    pub const LOOP_MIN: Duration = Duration::from_secs(1);
    /// A task that ran this long owes nothing to the failures before it.
    pub const STABLE_AFTER: Duration = Duration::from_secs(60);
    /// Between two messages in which an agent tells of one slot in a crash loop. So much later than it came managers may
    /// hear of an end.
    pub const LOOP_PAUSE: Duration = Duration::from_secs(1);
    /// For how long after a failure a slot counts as in a loop: longer than the longest back-off, and a while for the
    /// attempt itself.
    pub const LOOP_MEMORY: Duration = Duration::from_secs(2 * Self::BACKOFF_MAX.as_secs());

    /// Pause before the restart that follows `failures` failures in a row: doubled each time, capped.
    #[must_use]
    pub fn backoff(failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        Self::BACKOFF_FIRST.saturating_mul(1 << doublings).min(Self::BACKOFF_MAX)
    }
}

/// What a slot remembers of the attempts before the present one. Carried from task to task so that it survives the
/// loss of the rows themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRecord {
    /// Failures in a row without a stable run between them.
    pub failures: u32,
    /// Restarts since the template last changed, where `window` is zero.
    pub attempts: u32,
    /// When the restarts inside `window` were made, oldest first; at most [`RestartRecord::RECENT_MAX`].
    pub recent: Vec<Timestamp>,
}

impl RestartRecord {
    /// Above this many attempts in one window a limit is beside the point.
    pub const RECENT_MAX: usize = 100;
}

/// As flags take it.
impl fmt::Display for RestartCondition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            RestartCondition::None => "none",
            RestartCondition::OnFailure => "on-failure",
            RestartCondition::Any => "any",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let seconds: Vec<f32> = (0..10).map(|n| RestartPolicy::backoff(n).as_secs_f32()).collect();
        assert_eq!(seconds, [0.5, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        assert_eq!(RestartPolicy::backoff(u32::MAX), RestartPolicy::BACKOFF_MAX);
    }
}
