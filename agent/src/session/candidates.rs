//! Which manager to ask next, and after what pause. Pure: chance comes in.
//!
//! All known managers are asked one after the other without a pause worth the name, then there is one, which doubles.
//! A manager that names the leader is believed, a few times: it may be behind.

use std::{collections::BTreeSet, time::Duration};

/// After a round in which no manager served. An election takes about a second, and a manager that is asked meanwhile
/// holds the answer until it is over.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Well under the lease of 3 s: an agent that can reach a manager again does so before it is taken for dead.
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// Within a round, and after a session that ended: so that a thousand agents do not come at the same moment.
const JITTER: Duration = Duration::from_millis(50);
/// Managers that send an agent on to one another do not agree who leads.
const REDIRECTS_MAX: u32 = 3;

/// How the last try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// It sent us to the leader.
    Redirected {
        leader: String,
    },
    Refused,
    /// There was a session, and it ended; who leads instead, where that was said.
    Served {
        leader: Option<String>,
    },
}

#[derive(Debug)]
pub(super) struct Candidates {
    /// In the order they are asked. Never empty once there was one.
    addresses: Vec<String>,
    turn: usize,
    /// Managers asked since the last pause or session.
    asked: usize,
    redirects: u32,
    limit: Duration,
    /// Asked next, out of turn.
    leader: Option<String>,
}

impl Candidates {
    pub(super) fn new(addresses: Vec<String>) -> Self {
        Self { addresses: each_once(addresses), turn: 0, asked: 0, redirects: 0, limit: PAUSE_FIRST, leader: None }
    }

    /// What is known from now on. Whose turn it is stays so, where it is still known.
    pub(super) fn learn(&mut self, addresses: Vec<String>) {
        let now = self.addresses.get(self.turn).cloned();
        self.addresses = each_once(addresses);
        self.turn = now.and_then(|now| self.addresses.iter().position(|known| *known == now)).unwrap_or(0);
    }

    /// None: no manager is known.
    pub(super) fn next(&mut self) -> Option<String> {
        self.leader.take().or_else(|| self.addresses.get(self.turn).cloned())
    }

    /// `manager` is the one that [`Candidates::next`] named; `chance` is any number. Returns the pause before the next.
    pub(super) fn tried(&mut self, manager: &str, how: Tried, chance: u32) -> Duration {
        let chance = f64::from(chance) / f64::from(u32::MAX);
        if let Some(place) = self.addresses.iter().position(|known| known == manager) {
            self.turn = place;
        }
        match how {
            Tried::Redirected { leader } if self.redirects < REDIRECTS_MAX => {
                self.redirects += 1;
                self.leader = Some(leader);
                return Duration::ZERO;
            }
            Tried::Served { leader } => {
                self.asked = 0;
                self.redirects = 0;
                self.limit = PAUSE_FIRST;
                self.leader = leader;
                self.turn = self.after();
                return JITTER.mul_f64(chance);
            }
            Tried::Redirected { .. } | Tried::Refused => self.turn = self.after(),
        }
        self.asked += 1;
        if self.asked < self.addresses.len() {
            return JITTER.mul_f64(chance);
        }
        self.asked = 0;
        self.redirects = 0;
        let pause = self.limit / 2 + (self.limit / 2).mul_f64(chance);
        self.limit = (self.limit * 2).min(PAUSE_LONGEST);
        pause
    }

    fn after(&self) -> usize {
        (self.turn + 1).checked_rem(self.addresses.len()).unwrap_or(0)
    }
}

fn each_once(addresses: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    addresses.into_iter().filter(|address| seen.insert(address.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Candidates {
        Candidates::new(["a", "b", "a", "c"].map(str::to_owned).into())
    }

    fn ask(candidates: &mut Candidates, how: Tried) -> (String, u128) {
        let manager = candidates.next().expect("one is known");
        let pause = candidates.tried(&manager, how, u32::MAX).as_millis();
        (manager, pause)
    }

    #[test]
    fn a_round_goes_without_pauses_and_pauses_double_to_their_limit() {
        let mut candidates = three();
        let asked: Vec<_> = (0..9).map(|_| ask(&mut candidates, Tried::Refused)).collect();
        let expected = [("a", 50), ("b", 50), ("c", 100), ("a", 50), ("b", 50), ("c", 200), ("a", 50), ("b", 50)];
        assert_eq!(asked[..8], expected.map(|(manager, pause)| (manager.to_owned(), pause)));
        let longest = (0..30).map(|_| ask(&mut candidates, Tried::Refused).1).max();
        assert_eq!(longest, Some(PAUSE_LONGEST.as_millis()));
    }

    #[test]
    fn a_named_leader_is_asked_at_once_and_not_for_ever() {
        let mut candidates = three();
        let to = |leader: &str| Tried::Redirected { leader: leader.to_owned() };
        assert_eq!(ask(&mut candidates, to("c")), ("a".to_owned(), 0));
        assert_eq!(ask(&mut candidates, to("z")), ("c".to_owned(), 0), "also one that was not known");
        assert_eq!(ask(&mut candidates, to("c")), ("z".to_owned(), 0));
        assert_eq!(ask(&mut candidates, to("z")), ("c".to_owned(), 50), "they go round in circles");
        assert_eq!(candidates.next().as_deref(), Some("a"));
    }

    #[test]
    fn after_a_session_another_manager_is_asked_or_the_leader_it_named() {
        let mut candidates = three();
        assert_eq!(ask(&mut candidates, Tried::Served { leader: None }), ("a".to_owned(), 50));
        assert_eq!(ask(&mut candidates, Tried::Served { leader: Some("a".to_owned()) }), ("b".to_owned(), 50));
        assert_eq!(candidates.next().as_deref(), Some("a"));
        let mut alone = Candidates::new(vec!["a".to_owned()]);
        assert_eq!(ask(&mut alone, Tried::Served { leader: None }).0, "a");
        assert_eq!(ask(&mut alone, Tried::Refused), ("a".to_owned(), 100));
        assert_eq!(Candidates::new(Vec::new()).next(), None);
    }

    #[test]
    fn what_is_learnt_replaces_what_was_known() {
        let mut candidates = three();
        ask(&mut candidates, Tried::Refused);
        candidates.learn(["c", "b"].map(str::to_owned).into());
        assert_eq!(candidates.next().as_deref(), Some("b"), "it was its turn");
    }
}
