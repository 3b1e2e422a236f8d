//! Where the manager's wall clock comes from, and what of it the log's entries carry; how long something took is measured
//! on tokio's clock instead.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use muster_proto::time::Timestamp;
use tokio::time::Instant;

use crate::replica::Shared;

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

/// What entries are stamped with, and plans made at. Never behind the newest stamp in the state, which may come from a
/// leader whose clock was ahead, and never behind itself: where the wall clock is, time goes on from there until the
/// wall clock has caught up.
#[derive(Debug)]
pub(crate) struct StateClock {
    wall: Arc<dyn Clock>,
    shared: Arc<Shared>,
    last: Mutex<(Timestamp, Instant)>,
}

impl StateClock {
    pub(crate) fn new(wall: Arc<dyn Clock>, shared: Arc<Shared>) -> Self {
        Self { wall, shared, last: Mutex::new((Timestamp::EPOCH, Instant::now())) }
    }
}

impl Clock for StateClock {
    /// Not to be called by who holds the state's lock.
    fn now(&self) -> Timestamp {
        let stamped = self.shared.state.read().unwrap_or_else(PoisonError::into_inner).stamped();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.wall.now().max(stamped).max(last.0 + last.1.elapsed());
        *last = (now, Instant::now());
        now
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::RwLock, time::Duration};

    use muster_core::state::State;
    use tokio::{sync::watch, time::advance};

    use super::*;
    use crate::changes::Publisher;

    #[derive(Debug)]
    struct Wall(Mutex<Timestamp>);

    impl Clock for Wall {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_that_falls_back_does_not_take_time_along() {
        let wall = Arc::new(Wall(Mutex::new(Timestamp::from_millis(5_000))));
        let shared = Shared {
            state: RwLock::new(State::default()),
            applied: watch::Sender::new(0),
            changes: Publisher::default(),
        };
        let clock = StateClock::new(wall.clone(), Arc::new(shared));
        assert_eq!(clock.now(), Timestamp::from_millis(5_000));
        *wall.0.lock().unwrap() = Timestamp::from_millis(1_000);
        advance(Duration::from_millis(100)).await;
        assert_eq!(clock.now(), Timestamp::from_millis(5_100), "it goes on from where it was");
        *wall.0.lock().unwrap() = Timestamp::from_millis(9_000);
        assert_eq!(clock.now(), Timestamp::from_millis(9_000), "and follows once the wall clock is ahead again");
    }
}
