//! Where chance comes from: ids, jitter, election timeouts.

use std::{fmt::Debug, ops::Range, time::Duration};

use rand::Rng;

pub trait Random: Debug + Send + Sync + 'static {
    fn bits(&self) -> u64;
}

impl dyn Random {
    #[must_use]
    pub fn wide_bits(&self) -> u128 {
        (u128::from(self.bits()) << 64) | u128::from(self.bits())
    }

    /// Evenly spread, near enough: the range is far smaller than what is drawn from.
    #[must_use]
    pub fn duration(&self, range: Range<Duration>) -> Duration {
        let width = u64::try_from((range.end.saturating_sub(range.start)).as_millis()).unwrap_or(u64::MAX);
        range.start + Duration::from_millis(self.bits().checked_rem(width).unwrap_or(0))
    }
}

/// The host's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostRandom;

impl Random for HostRandom {
    fn bits(&self) -> u64 {
        rand::rng().random()
    }
}
