//! Pauses between tries to reach a manager. Pure: chance comes in.

use std::time::Duration;

/// A manager that restarts is back within one or two tries.
const FIRST: Duration = Duration::from_millis(100);
/// Well under the lease of 3 s: an agent that can reach a manager again does so before it is taken for dead.
const LONGEST: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Backoff {
    limit: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { limit: FIRST }
    }
}

impl Backoff {
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Between half of the present limit and all of it, so that a thousand agents do not come at once; the limit
    /// doubles. `chance` is any number.
    pub(super) fn next(&mut self, chance: u32) -> Duration {
        let pause = self.limit / 2 + (self.limit / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX));
        self.limit = (self.limit * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_limit_and_begin_again() {
        let mut backoff = Backoff::default();
        let longest: Vec<_> = (0..7).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(backoff.next(0).as_millis(), 1000);
        backoff.reset();
        assert_eq!(backoff.next(0).as_millis(), 50);
    }
}
