//! Hosts that try to join with tokens that are not valid: after a few, an address has to wait.
//!
//! A token's secret cannot be guessed; this keeps whoever tries all the same, or a script that has gone wrong, from
//! keeping the leader busy. In this manager's memory only.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tonic::Status;

/// More slips of the pen than a person makes in a minute.
const FAILED_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// The oldest is forgotten for the next.
const ADDRESSES_MAX: usize = 1_024;

#[derive(Clone, Debug, Default)]
pub(crate) struct Attempts(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table(BTreeMap<IpAddr, Failures>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Instant,
    count: u32,
}

impl Attempts {
    /// Refused while the address has failed too often.
    pub(super) fn check(&self, from: Option<IpAddr>) -> Result<(), Status> {
        let Some(from) = from.map(network) else { return Ok(()) };
        match self.with(|table| table.wait(from, Instant::now())) {
            None => Ok(()),
            Some(wait) => Err(Status::resource_exhausted(format!(
                "{FAILED_MAX} joins from this address had no valid token; wait {} s, then repeat it with a token that \
                 `muster join-token` prints on a manager",
                wait.as_secs() + 1
            ))),
        }
    }

    pub(super) fn failed(&self, from: Option<IpAddr>) {
        if let Some(from) = from.map(network) {
            self.with(|table| table.failed(from, Instant::now()));
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Table) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One host has a whole /64 of v6 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

impl Table {
    fn wait(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.0.get(&from).filter(|failures| failures.count >= FAILED_MAX)?;
        WINDOW.checked_sub(now.duration_since(failures.since))
    }

    fn failed(&mut self, from: IpAddr, now: Instant) {
        self.0.retain(|_, failures| now.duration_since(failures.since) <= WINDOW);
        if !self.0.contains_key(&from) && self.0.len() >= ADDRESSES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, failures)| failures.since).map(|(address, _)| *address);
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let failures = self.0.entry(from).or_insert(Failures { since: now, count: 0 });
        failures.count = failures.count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    #[test]
    fn an_address_that_failed_too_often_waits_and_others_do_not() {
        let (mut table, now) = (Table::default(), Instant::now());
        for _ in 1..FAILED_MAX {
            table.failed(address(1), now);
        }
        assert_eq!(table.wait(address(1), now), None);
        table.failed(address(1), now + WINDOW / 2);
        assert_eq!(table.wait(address(1), now + WINDOW / 2), Some(WINDOW / 2));
        assert_eq!(table.wait(address(2), now + WINDOW / 2), None);
        assert_eq!(table.wait(address(1), now + WINDOW + Duration::from_millis(1)), None);
        table.failed(address(1), now + WINDOW * 2);
        assert_eq!(table.wait(address(1), now + WINDOW * 2), None, "it begins anew");
    }

    #[test]
    fn the_table_is_bounded_and_one_host_is_one_address() {
        let (mut table, now) = (Table::default(), Instant::now());
        for number in 0..u32::try_from(ADDRESSES_MAX * 2).expect("small") {
            table.failed(address(number), now + Duration::from_micros(number.into()));
        }
        assert_eq!(table.0.len(), ADDRESSES_MAX);
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
