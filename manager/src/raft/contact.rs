//! When members were last heard of: the leader by the others, everyone else by the leader. Kept where messages pass, so
//! that a slow disk of this manager's own is not taken for another's silence, and so that a leader whose own disk hangs
//! learns of another's silence all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// Openraft's term and the leader in it.
pub(crate) type Reign = openraft::LeaderId<u64>;

#[derive(Clone, Debug)]
pub(crate) struct Contact(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    times: Mutex<Times>,
    noted: Notify,
}

#[derive(Debug)]
struct Times {
    leader: Instant,
    answers: BTreeMap<u64, Instant>,
    followed: BTreeMap<u64, Followed>,
    latest: Option<Reign>,
}

/// A member's last answer as a follower.
#[derive(Clone, Copy, Debug)]
struct Followed {
    reign: Reign,
    /// The message that it answered. When the answer came says less: it may have been under way for long.
    sent: Instant,
}

impl Contact {
    pub(crate) fn new() -> Self {
        let (answers, followed) = (BTreeMap::new(), BTreeMap::new());
        let times = Mutex::new(Times { leader: Instant::now(), answers, followed, latest: None });
        Self(Arc::new(Inner { times, noted: Notify::new() }))
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn heard_leader(&self) {
        self.times().leader = Instant::now();
    }

    pub(crate) fn leader(&self) -> Instant {
        self.times().leader
    }

    /// A member has answered.
    pub(crate) fn answered(&self, raft_id: u64) {
        self.times().answers.insert(raft_id, Instant::now());
    }

    /// How long ago each member that ever answered did so last.
    pub(crate) fn answers(&self) -> BTreeMap<u64, Duration> {
        self.times().answers.iter().map(|(id, at)| (*id, at.elapsed())).collect()
    }

    /// A member follows this leader: it has answered so to a message that was sent then.
    pub(crate) fn follows(&self, raft_id: u64, reign: Reign, sent: Instant) {
        let mut times = self.times();
        let held = times.followed.entry(raft_id).or_insert(Followed { reign, sent });
        let first = held.reign != reign || held.sent == sent;
        if reign > held.reign {
            *held = Followed { reign, sent };
        } else if reign == held.reign {
            held.sent = held.sent.max(sent);
        }
        drop(times);
        if first {
            self.0.noted.notify_one();
        }
    }

    /// Somebody leads, or did.
    pub(crate) fn led(&self, reign: Reign) {
        let mut times = self.times();
        let news = times.latest < Some(reign);
        times.latest = times.latest.max(Some(reign));
        drop(times);
        if news {
            self.0.noted.notify_one();
        }
    }

    /// Whether somebody was heard of who leads later.
    pub(crate) fn is_over(&self, reign: Reign) -> bool {
        self.times().latest > Some(reign)
    }

    /// When the last message was sent that a majority of each of these sets has answered as this one's followers. No
    /// later leader can have been elected before: one of its voters is among them. None: they have not answered yet.
    pub(crate) fn backed(&self, me: u64, reign: Reign, sets: &[BTreeSet<u64>]) -> Option<Instant> {
        let times = self.times();
        let now = Instant::now();
        let followed = |id: &u64| match times.followed.get(id) {
            _ if *id == me => Some(now),
            Some(followed) if followed.reign == reign => Some(followed.sent),
            Some(_) | None => None,
        };
        let of_set = |set: &BTreeSet<u64>| {
            let mut sent = set.iter().map(followed).collect::<Vec<_>>();
            sent.sort_unstable_by(|one, other| other.cmp(one));
            sent.get(set.len() / 2).copied().flatten()
        };
        sets.iter().map(of_set).min().flatten()
    }

    /// Returns when a member follows a leader for the first time, or a later leader was heard of. Cancel-safe; for one.
    pub(crate) async fn noted(&self) {
        self.0.noted.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REIGN: Reign = Reign { term: 4, node_id: 1 };

    fn set<const N: usize>(of: [u64; N]) -> BTreeSet<u64> {
        of.into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_is_backed_since_a_majority_was_asked_and_not_since_it_answered() {
        let contact = Contact::new();
        let sets = [set([1, 2, 3])];
        assert_eq!(contact.backed(1, REIGN, &[set([1])]), Some(Instant::now()), "alone it has its own word");
        assert_eq!(contact.backed(1, REIGN, &sets), None);
        let sent = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        contact.follows(2, REIGN, sent);
        assert_eq!(contact.backed(1, REIGN, &sets), Some(sent));
        let later = Instant::now();
        contact.follows(2, REIGN, later);
        contact.follows(2, REIGN, sent);
        assert_eq!(contact.backed(1, REIGN, &sets), Some(later), "an answer that was overtaken takes nothing back");
    }

    #[tokio::test(start_paused = true)]
    async fn every_set_counts_and_the_leader_only_where_it_votes() {
        let contact = Contact::new();
        let now = Instant::now();
        contact.follows(2, REIGN, now);
        assert_eq!(contact.backed(1, REIGN, &[set([1, 2, 3]), set([3, 4, 5])]), None);
        assert_eq!(contact.backed(1, REIGN, &[set([2, 3, 4])]), None);
        contact.follows(3, REIGN, now);
        assert_eq!(contact.backed(1, REIGN, &[set([2, 3, 4])]), Some(now));
        assert_eq!(contact.backed(1, REIGN, &[set([1, 2, 3, 4])]), Some(now), "two of four are no majority");
        assert_eq!(contact.backed(1, REIGN, &[]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_followed_in_an_earlier_reign_backs_no_later_one() {
        let contact = Contact::new();
        let (sets, later) = ([set([1, 2, 3])], Reign { term: 5, node_id: 1 });
        contact.follows(2, REIGN, Instant::now());
        assert_eq!(contact.backed(1, later, &sets), None);
        contact.follows(2, later, Instant::now());
        contact.follows(2, REIGN, Instant::now());
        assert!(contact.backed(1, later, &sets).is_some());
        assert!(!contact.is_over(REIGN));
        contact.led(Reign { term: 4, node_id: 3 });
        assert!(contact.is_over(REIGN) && !contact.is_over(later));
    }
}
