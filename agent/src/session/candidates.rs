//! Which manager to ask next, and after what pause. Pure: chance comes in.
//!
//! All known managers are asked one after the other without a pause worth the name, then there is one, which doubles.
//! One that does not answer is not waited for: the next is asked beside it, and it again when its turn comes. Packets
//! into a cut are lost for good, and the kernel repeats them long after the network is back.
//! A manager that names the leader is believed, a few times: it may be behind.

use std::{collections::BTreeSet, time::Duration};

/// After a round in which no manager served. An election takes about a second, and a manager that is asked meanwhile
/// holds the answer until it is over.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Well under the lease of 3 s: an agent that can reach a manager again does so before it is taken for dead.
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// Within a round, and after a session that ended: so that a thousand agents do not come at the same moment.
const JITTER: Duration = Duration::from_millis(50);
/// How long a manager is waited for until another is asked beside it. What a network that is back again waits for is
/// this at most, and it is a small part of what is left of the lease then.
const BESIDE: Duration = Duration::from_millis(200);
/// Tries at that pace: for as long as the lease may still hold. Then they come at the longest pause.
const HURRIED_TRIES: u32 = 15;
/// Managers that send an agent on to one another do not agree who leads.
const REDIRECTS_MAX: u32 = 3;

#[derive(Debug)]
pub(super) struct Candidates {
    /// In the order they are asked. Never empty once there was one.
    addresses: Vec<String>,
    /// Who is asked next.
    turn: usize,
    /// Managers that refused since the last pause or session.
    refused: usize,
    /// Managers asked since the last session.
    asked: u32,
    redirects: u32,
    limit: Duration,
    /// Asked next, out of turn.
    leader: Option<String>,
}

impl Candidates {
    pub(super) fn new(addresses: Vec<String>) -> Self {
        Self {
            addresses: each_once(addresses),
            turn: 0,
            refused: 0,
            asked: 0,
            redirects: 0,
            limit: PAUSE_FIRST,
            leader: None,
        }
    }

    /// What is known from now on. Whose turn it is stays so, where it is still known.
    pub(super) fn learn(&mut self, addresses: Vec<String>) {
        let now = self.addresses.get(self.turn).cloned();
        self.addresses = each_once(addresses);
        self.turn = now.and_then(|now| self.addresses.iter().position(|known| *known == now)).unwrap_or(0);
    }

    /// As [`Candidates::learn`], from a manager that called. Where it names an address that was not known, that one is asked
    /// next, and all in a hurry again; then this is true.
    pub(super) fn called(&mut self, addresses: Vec<String>) -> bool {
        let news = addresses.iter().find(|address| !self.addresses.contains(address)).cloned();
        self.learn(addresses);
        let Some(place) = news.and_then(|news| self.addresses.iter().position(|known| *known == news)) else {
            return false;
        };
        (self.turn, self.asked, self.limit) = (place, 0, PAUSE_FIRST);
        true
    }

    /// None: no manager is known that may be asked.
    pub(super) fn next(&mut self, may_be_asked: impl Fn(&str) -> bool) -> Option<String> {
        let count = self.addresses.len();
        let in_turn = || (self.turn..self.turn + count).map(|place| &self.addresses[place % count]);
        let leader = self.leader.take().filter(|leader| may_be_asked(leader));
        let next = leader.or_else(|| in_turn().find(|address| may_be_asked(address)).cloned())?;
        if let Some(place) = self.addresses.iter().position(|known| *known == next) {
            self.turn = (place + 1) % count;
        }
        self.asked = self.asked.saturating_add(1);
        Some(next)
    }

    /// The pause before another is asked while those that were asked say nothing.
    pub(super) fn beside(&self) -> Duration {
        if self.asked < HURRIED_TRIES { BESIDE } else { PAUSE_LONGEST }
    }

    /// One sent us to the leader. `chance`, here and below, is any number. Returns the pause before the next is asked.
    pub(super) fn redirected(&mut self, leader: String, chance: u32) -> Duration {
        if self.redirects == REDIRECTS_MAX {
            return self.refused(chance);
        }
        self.redirects += 1;
        self.leader = Some(leader);
        Duration::ZERO
    }

    pub(super) fn refused(&mut self, chance: u32) -> Duration {
        self.refused += 1;
        if self.refused < self.addresses.len() { JITTER.mul_f64(part(chance)) } else { self.pause(chance) }
    }

    /// There was a session, and it ended; who leads instead, where that was said. Only one that lasted shows that the
    /// next may be sought in a hurry.
    pub(super) fn served(&mut self, was_stable: bool, leader: Option<String>, chance: u32) -> Duration {
        self.leader = leader;
        self.asked = 0;
        if was_stable {
            (self.refused, self.redirects, self.limit) = (0, 0, PAUSE_FIRST);
            return JITTER.mul_f64(part(chance));
        }
        self.pause(chance)
    }

    fn pause(&mut self, chance: u32) -> Duration {
        (self.refused, self.redirects) = (0, 0);
        let pause = self.limit / 2 + (self.limit / 2).mul_f64(part(chance));
        self.limit = (self.limit * 2).min(PAUSE_LONGEST);
        pause
    }
}

fn part(chance: u32) -> f64 {
    f64::from(chance) / f64::from(u32::MAX)
}

fn each_once(addresses: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    addresses.into_iter().filter(|address| seen.insert(address.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANCE: u32 = u32::MAX;

    fn three() -> Candidates {
        Candidates::new(["a", "b", "a", "c"].map(str::to_owned).into())
    }

    fn next(candidates: &mut Candidates) -> String {
        candidates.next(|_any| true).expect("one is known")
    }

    /// Who was asked, and the pause after its refusal.
    fn refused(candidates: &mut Candidates) -> (String, u128) {
        (next(candidates), candidates.refused(CHANCE).as_millis())
    }

    #[test]
    fn a_round_goes_without_pauses_and_pauses_double_to_their_limit() {
        let mut candidates = three();
        let asked: Vec<_> = (0..8).map(|_| refused(&mut candidates)).collect();
        let expected = [("a", 50), ("b", 50), ("c", 100), ("a", 50), ("b", 50), ("c", 200), ("a", 50), ("b", 50)];
        assert_eq!(asked[..], expected.map(|(manager, pause)| (manager.to_owned(), pause)));
        let longest = (0..30).map(|_| refused(&mut candidates).1).max();
        assert_eq!(longest, Some(PAUSE_LONGEST.as_millis()));
    }

    #[test]
    fn while_none_answers_all_are_asked_in_turn_and_not_for_ever_in_a_hurry() {
        let mut candidates = three();
        let mut pauses = Vec::new();
        let asked: Vec<_> = (0..20)
            .map(|_| {
                let asked = next(&mut candidates);
                pauses.push(candidates.beside());
                asked
            })
            .collect();
        assert_eq!(asked[..4], ["a", "b", "c", "a"]);
        assert_eq!((pauses[0], pauses[13], pauses[14], pauses[19]), (BESIDE, BESIDE, PAUSE_LONGEST, PAUSE_LONGEST));
        candidates.served(true, None, CHANCE);
        assert_eq!(candidates.beside(), BESIDE);
        assert_eq!(candidates.next(|manager| manager == "b").as_deref(), Some("b"));
        assert_eq!(next(&mut candidates), "c");
        assert_eq!(candidates.next(|_none| false), None);
    }

    #[test]
    fn a_named_leader_is_asked_at_once_and_not_for_ever() {
        let mut candidates = three();
        let mut to = |leader: &str| {
            let asked = next(&mut candidates);
            (asked, candidates.redirected(leader.to_owned(), CHANCE).as_millis())
        };
        assert_eq!(to("c"), ("a".to_owned(), 0));
        assert_eq!(to("z"), ("c".to_owned(), 0), "also one that was not known");
        assert_eq!(to("c"), ("z".to_owned(), 0));
        assert_eq!(to("z"), ("c".to_owned(), 50), "they go round in circles");
        assert_eq!(next(&mut candidates), "a");
    }

    #[test]
    fn after_a_session_another_manager_is_asked_or_the_leader_it_named() {
        let mut candidates = three();
        assert_eq!(next(&mut candidates), "a");
        assert_eq!(candidates.served(true, None, CHANCE), JITTER);
        assert_eq!(next(&mut candidates), "b");
        candidates.served(true, Some("a".to_owned()), CHANCE);
        assert_eq!(next(&mut candidates), "a");
        let mut alone = Candidates::new(vec!["a".to_owned()]);
        alone.served(true, None, CHANCE);
        assert_eq!(refused(&mut alone), ("a".to_owned(), 100));
        assert_eq!(Candidates::new(Vec::new()).next(|_any| true), None);
    }

    #[test]
    fn sessions_that_end_at_once_are_sought_with_growing_pauses() {
        let mut candidates = three();
        let pauses: Vec<_> = (0..10).map(|_| candidates.served(false, None, CHANCE).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000]);
        assert_eq!(candidates.served(true, None, CHANCE), JITTER, "this one lasted");
        assert_eq!(candidates.served(false, None, CHANCE), PAUSE_FIRST);
    }

    #[test]
    fn a_manager_that_called_is_asked_next() {
        let mut candidates = three();
        (0..20).for_each(|_| drop(next(&mut candidates)));
        assert_eq!(candidates.beside(), PAUSE_LONGEST);
        assert!(!candidates.called(["b", "a", "c"].map(str::to_owned).into()), "nothing new");
        assert_eq!(candidates.beside(), PAUSE_LONGEST);
        assert!(candidates.called(["b", "d", "a", "c"].map(str::to_owned).into()));
        assert_eq!((candidates.beside(), next(&mut candidates)), (BESIDE, "d".to_owned()));
    }

    #[test]
    fn what_is_learnt_replaces_what_was_known() {
        let mut candidates = three();
        next(&mut candidates);
        candidates.learn(["c", "b"].map(str::to_owned).into());
        assert_eq!(next(&mut candidates), "b", "it was its turn");
    }
}
