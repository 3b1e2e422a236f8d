//! How a task's stop grace period is shared out: first its connections end, then its process is asked to.

use std::time::Duration;

/// The part of the grace period that connections may take. A quarter is kept back, so that a process whose clients
/// never let go still has time to end in order.
pub(super) fn for_drain(grace: Duration) -> Duration {
    grace - grace / 4
}

/// What is left for the process after the drain took `spent`.
pub(super) fn for_stop(grace: Duration, spent: Duration) -> Duration {
    grace.saturating_sub(spent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_that_takes_all_it_may_leaves_a_quarter() {
        let grace = Duration::from_secs(10);
        assert_eq!(for_stop(grace, for_drain(grace)), Duration::from_millis(2_500));
        assert_eq!(for_stop(grace, Duration::ZERO), grace);
        assert_eq!(for_stop(Duration::ZERO, for_drain(Duration::ZERO)), Duration::ZERO);
    }
}
