//! Where the manager's wall clock comes from. Log entries carry what it says; how long something took is measured on
//! tokio's clock instead.

use std::time::{SystemTime, UNIX_EPOCH};

use muster_proto::time::Timestamp;

pub trait Clock: std::fmt::Debug + Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

/// The host's own clock. It may jump: nothing but stamps and wake-up times is read from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}
