//! Heartbeats that are not answered yet: the answer renews the node's lease, so it has to wait until it is known that
//! this manager still led when the heartbeat came. Pure.
//!
//! Two places are enough: one for the heartbeat that is waited for and one for the latest of those that came meanwhile,
//! whose answer answers them all.

use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heartbeat {
    sequence: u64,
    came: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Held {
    waited_for: Option<Heartbeat>,
    latest: Option<Heartbeat>,
}

impl Held {
    pub(super) fn hold(&mut self, sequence: u64, came: Instant) {
        let heartbeat = Some(Heartbeat { sequence, came });
        if self.waited_for.is_none() {
            self.waited_for = heartbeat;
        } else {
            self.latest = heartbeat;
        }
    }

    /// The moment at which this manager must have led, for the next answer.
    pub(super) fn moment(&self) -> Option<Instant> {
        self.waited_for.map(|heartbeat| heartbeat.came)
    }

    /// It led then: the heartbeat to answer.
    pub(super) fn release(&mut self) -> Option<u64> {
        let released = std::mem::replace(&mut self.waited_for, self.latest.take());
        released.map(|heartbeat| heartbeat.sequence)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn heartbeats_that_come_meanwhile_do_not_put_off_the_answer_to_the_one_waited_for() {
        let (mut held, now) = (Held::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert_eq!((held.moment(), held.release()), (None, None));
        for sequence in 1..=3 {
            held.hold(sequence, at(sequence));
            assert_eq!(held.moment(), Some(at(1)));
        }
        assert_eq!((held.release(), held.moment()), (Some(1), Some(at(3))));
        assert_eq!((held.release(), held.moment()), (Some(3), None));
    }
}
