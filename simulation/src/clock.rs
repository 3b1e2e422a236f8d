//! A host's wall clock: wrong by an amount that changes.

use std::sync::atomic::{AtomicI64, Ordering};

use muster_manager::clock::Clock;
use muster_proto::time::Timestamp;
use tokio::time::Instant;

/// When every run begins: 2026-01-01.
const BEGIN_MS: i64 = 1_767_225_600_000;

#[derive(Debug)]
pub struct SkewedClock {
    origin: Instant,
    skew_ms: AtomicI64,
}

impl SkewedClock {
    /// `origin` is one for all hosts.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        Self { origin, skew_ms: AtomicI64::new(0) }
    }

    pub fn set(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = BEGIN_MS + elapsed + self.skew_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(u64::try_from(now).unwrap_or(0))
    }
}
