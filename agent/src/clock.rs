//! The wall clock, for what people read: when a status was entered. Nothing is decided by it; spans are measured on
//! tokio's clock, which does not jump.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use muster_proto::time::Timestamp;

pub trait Clock: fmt::Debug + Send + Sync + 'static {
    fn now(&self) -> Timestamp;
}

#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 is shown as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
