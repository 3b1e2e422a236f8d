//! Connections that have not shown a certificate that counts: how many there may be, and which one goes when one too
//! many comes.
//!
//! The oldest goes, of the same host first: whoever means well needs milliseconds and is through before its turn comes,
//! also while a thousand others come and say nothing. Pure but for the lock; the port enters and leaves.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

/// At once, from one address. Hosts behind one translated address join together without losing a place.
const OF_ONE_MAX: usize = 64;
/// At once, from everywhere. A handshake under way takes some 20 KiB.
const ALL_MAX: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Lobby(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// By number, which grows: the first is the oldest.
    waiting: BTreeMap<u64, (IpAddr, CancellationToken)>,
    numbers_given: u64,
}

/// A place in the lobby; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    lobby: Lobby,
    number: u64,
    /// Cancelled once another needs the place.
    pub(super) taken: CancellationToken,
}

impl Lobby {
    pub(super) fn enter(&self, from: IpAddr) -> Place {
        let taken = CancellationToken::new();
        let number = self.table().enter(from, taken.clone());
        Place { lobby: self.clone(), number, taken }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lobby.table().waiting.remove(&self.number);
    }
}

impl Table {
    fn enter(&mut self, from: IpAddr, taken: CancellationToken) -> u64 {
        if let Some(number) = self.must_go(from)
            && let Some((_, token)) = self.waiting.remove(&number)
        {
            token.cancel();
        }
        self.numbers_given += 1;
        self.waiting.insert(self.numbers_given, (from, taken));
        self.numbers_given
    }

    fn must_go(&self, from: IpAddr) -> Option<u64> {
        let of = |ip: IpAddr| self.waiting.iter().filter(move |(_, (waiting, _))| *waiting == ip);
        if of(from).count() >= OF_ONE_MAX {
            return of(from).next().map(|(number, _)| *number);
        }
        if self.waiting.len() < ALL_MAX {
            return None;
        }
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        self.waiting.values().for_each(|(ip, _)| *counts.entry(*ip).or_default() += 1);
        let (most, _) = counts.into_iter().max_by_key(|(ip, count)| (*count, *ip))?;
        of(most).next().map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn ip(last: usize) -> IpAddr {
        let [high, low] = u16::try_from(last).unwrap().to_be_bytes();
        Ipv4Addr::new(10, 0, high, low).into()
    }

    fn staying(places: &[Place]) -> usize {
        places.iter().filter(|place| !place.taken.is_cancelled()).count()
    }

    #[test]
    fn the_oldest_of_the_same_host_makes_room() {
        let lobby = Lobby::default();
        let other = lobby.enter(ip(9));
        let places: Vec<Place> = (0..OF_ONE_MAX + 3).map(|_| lobby.enter(ip(1))).collect();
        assert_eq!(staying(&places), OF_ONE_MAX);
        assert!(places[..3].iter().all(|place| place.taken.is_cancelled()));
        assert!(!other.taken.is_cancelled());
    }

    #[test]
    fn when_all_places_are_taken_the_host_with_the_most_loses_one() {
        let lobby = Lobby::default();
        let greedy: Vec<Place> = (0..OF_ONE_MAX).map(|_| lobby.enter(ip(1))).collect();
        let modest: Vec<Place> = (2..2 + ALL_MAX - OF_ONE_MAX).map(|last| lobby.enter(ip(last))).collect();
        assert_eq!(staying(&greedy) + staying(&modest), ALL_MAX);
        let newcomer = lobby.enter(ip(60_000));
        assert!(greedy[0].taken.is_cancelled());
        assert_eq!((staying(&greedy), staying(&modest)), (OF_ONE_MAX - 1, modest.len()));
        assert!(!newcomer.taken.is_cancelled());
    }

    #[test]
    fn a_place_is_given_back() {
        let lobby = Lobby::default();
        drop((0..3 * OF_ONE_MAX).map(|_| lobby.enter(ip(1))).collect::<Vec<_>>());
        assert!(lobby.table().waiting.is_empty());
        for _ in 0..3 * OF_ONE_MAX {
            let place = lobby.enter(ip(1));
            assert!(!place.taken.is_cancelled());
        }
    }
}
