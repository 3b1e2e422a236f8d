//! When the node's lease is over, and how often it was. Pure: times are since boot, and come in.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Lease {
    /// None: it was never granted, as far as is known.
    until: Option<Duration>,
    /// Seen to be over, and not renewed since.
    is_over: bool,
    outages: u64,
    /// When it was over the last time.
    ended_at: Duration,
}

impl Lease {
    pub(super) fn new(until: Option<Duration>) -> Self {
        Self { until, is_over: false, outages: 0, ended_at: Duration::ZERO }
    }

    /// Each end is counted once.
    pub(super) fn look(&mut self, now: Duration) {
        if !self.is_over && self.until.is_none_or(|until| until <= now) {
            self.is_over = true;
            self.outages += 1;
            self.ended_at = self.until.unwrap_or(now);
        }
    }

    pub(super) fn renew(&mut self, sent_at: Duration, span: Duration, now: Duration) {
        let until = sent_at.saturating_add(span);
        self.until = Some(until);
        self.is_over &= until <= now;
    }

    /// As of the last look.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn outages(&self) -> u64 {
        self.outages
    }

    pub(super) fn ended_at(&self) -> Duration {
        self.ended_at
    }

    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_counts_from_the_sending_and_each_end_once() {
        let mut lease = Lease::new(Some(s(3)));
        lease.look(s(2));
        assert_eq!(lease.outages(), 0);
        lease.renew(s(2), s(3), s(4));
        lease.look(s(4));
        assert_eq!(lease.outages(), 0);
        lease.look(s(5));
        lease.look(s(6));
        assert_eq!(lease.outages(), 1);
        lease.renew(s(3), s(3), s(7));
        lease.look(s(8));
        assert_eq!(lease.outages(), 1, "an answer that comes too late renews nothing");
        lease.renew(s(8), s(3), s(8));
        lease.look(s(11));
        assert_eq!(lease.outages(), 2);
    }

    /// What managers go by: they count the longer lease until this agent has begun a session under the shorter one.
    #[test]
    fn a_shorter_lease_takes_the_place_of_a_longer_one() {
        let mut lease = Lease::new(None);
        lease.renew(s(0), s(30), s(0));
        lease.renew(s(1), s(3), s(1));
        assert_eq!(lease.until(), Some(s(4)));
        lease.look(s(4));
        assert_eq!(lease.outages(), 1);
    }

    #[test]
    fn one_that_was_never_granted_is_over() {
        let mut lease = Lease::new(None);
        lease.look(s(0));
        assert_eq!(lease.outages(), 1);
    }
}
