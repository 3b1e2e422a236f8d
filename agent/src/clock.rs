//! The clocks that are not tokio's. The wall clock is for what people read, and decides nothing. The boot clock decides
//! when a lease is over: unlike tokio's it goes on while the host sleeps, and outlasts this process.

use std::{
    fmt, fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use muster_proto::time::Timestamp;
use nix::time::{ClockId, clock_gettime};

pub trait Clock: fmt::Debug + Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// Since the host was booted, its sleep included.
    fn since_boot(&self) -> Duration;
}

#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 is shown as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn since_boot(&self) -> Duration {
        // Never refused on Linux. Were it, every lease would be over, which is the safe side.
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
    }
}

/// Tells this boot of the host from others; times since boot compare within one only.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(|_| "-".to_owned(), |id| id.trim().to_owned())
}
