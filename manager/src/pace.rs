//! When to look again: a level-triggered wake-up for one reader, slowed down under load. A change after a quiet time
//! is seen at once; changes that follow within the interval are seen together at its end.

use std::time::Duration;

use muster_core::apply::Touched;
use tokio::time::{Instant, sleep_until};

use crate::changes::{Changed, Watcher};

/// Which changes a reader wants to hear of.
type Concerns = Box<dyn Fn(&Touched) -> bool + Send + Sync>;

pub(crate) struct Pace {
    watcher: Watcher,
    concerns: Concerns,
    interval: Duration,
    not_before: Instant,
    /// A change was heard of and not yet reported: kept here because [`Pace::changed`] may be dropped while it waits.
    due: bool,
}

impl std::fmt::Debug for Pace {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Pace").field("interval", &self.interval).field("due", &self.due).finish_non_exhaustive()
    }
}

impl Pace {
    /// The first look is due at once.
    pub(crate) fn new(
        watcher: Watcher,
        interval: Duration,
        concerns: impl Fn(&Touched) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { watcher, concerns: Box::new(concerns), interval, not_before: Instant::now(), due: false }
    }

    /// Something of concern changed that is no part of the state.
    pub(crate) fn wake(&mut self) {
        self.due = true;
    }

    /// Returns once something of concern changed since the last return, at most once in each interval. Whoever then
    /// reads the state sees at least that. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        while !self.due {
            self.due = match self.watcher.changed().await {
                Changed::Everything => true,
                Changed::Some(touched) => (self.concerns)(&touched),
            };
        }
        sleep_until(self.not_before).await;
        self.due = false;
        self.not_before = Instant::now() + self.interval;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use muster_proto::id::ServiceId;

    use super::*;
    use crate::changes::Publisher;

    const INTERVAL: Duration = Duration::from_millis(50);
    const MINE: ServiceId = ServiceId::from_bits(1);
    const OTHER: ServiceId = ServiceId::from_bits(2);

    fn pace(publisher: &Publisher) -> Pace {
        Pace::new(publisher.watch(), INTERVAL, |touched| touched.services.contains(&MINE))
    }

    fn touch(publisher: &Publisher, service: ServiceId) {
        publisher.publish(&Changed::Some(Touched { services: [service].into(), ..Touched::default() }));
    }

    #[tokio::test(start_paused = true)]
    async fn changes_in_a_burst_are_seen_together() {
        let publisher = Publisher::default();
        let mut pace = pace(&publisher);
        assert_eq!(pace.changed().now_or_never(), Some(()), "the first look");
        touch(&publisher, MINE);
        let before = Instant::now();
        assert_eq!(pace.changed().now_or_never(), None, "held back");
        touch(&publisher, MINE);
        pace.changed().await;
        assert!(before.elapsed() >= INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_after_a_quiet_time_is_seen_at_once() {
        let publisher = Publisher::default();
        let mut pace = pace(&publisher);
        pace.changed().await;
        tokio::time::advance(INTERVAL).await;
        touch(&publisher, OTHER);
        assert_eq!(pace.changed().now_or_never(), None, "of no concern");
        touch(&publisher, MINE);
        assert_eq!(pace.changed().now_or_never(), Some(()));
    }
}
