//! From no session to one: managers are asked beside one another until the first serves.
//!
//! [`Candidates`] says who is asked when. A manager that has taken a connection is greeted once at a time, as the newer
//! of two sessions of a node ends the older; one that named it as the leader is not asked again meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{debug, warn};

use super::{
    Sessions,
    candidates::Candidates,
    open::{self, By, Opened, Refusal},
};

/// Under way at once. Tries end after a few seconds, so that more than a handful means that managers send us around.
const TRIES_MAX: usize = 16;
/// The leader calls once a second.
const CALLS_APART: Duration = Duration::from_millis(500);
/// Managers whose last words are remembered.
const WORDS_MAX: usize = 64;

/// What became of a try.
enum Outcome {
    Opened(Box<Opened>),
    Refused(Refusal),
    Silent,
    /// Another try is being answered by the same manager.
    Superseded,
}

/// The last reason that was told of each manager: one that is away for an hour fills no log.
#[derive(Debug)]
pub(super) struct Words {
    told: BTreeMap<String, Refusal>,
    /// The one that says most, for whoever asks this host.
    trouble: watch::Sender<Option<String>>,
}

impl Words {
    pub(super) fn new(trouble: watch::Sender<Option<String>>) -> Self {
        Self { told: BTreeMap::new(), trouble }
    }

    pub(super) fn tell(&mut self, manager: &str, refusal: &Refusal) {
        let why = &refusal.why;
        if self.told.get(manager).is_some_and(|told| told.why == *why) {
            debug!(%manager, reason = why, "still no session");
        } else {
            if self.told.len() >= WORDS_MAX {
                self.told.clear();
            }
            self.told.insert(manager.to_owned(), refusal.clone());
            warn!(%manager, reason = why, "no session; trying again, and containers run on meanwhile");
        }
        self.trouble.send_replace(self.most_telling());
    }

    /// What a manager says of this node is true of the others too, most likely; that one is away is true of that one.
    fn most_telling(&self) -> Option<String> {
        let said = self.told.iter().find(|(_, refusal)| refusal.by == By::Manager).or_else(|| self.told.iter().next());
        said.map(|(manager, refusal)| format!("no session with {manager}: {}", refusal.why))
    }

    /// There is a session.
    pub(super) fn hush(&self) {
        self.trouble.send_replace(None);
    }

    pub(super) fn forget(&mut self) {
        self.told.clear();
    }
}

/// The managers that are being greeted.
#[derive(Debug, Default)]
struct Greeted(Mutex<BTreeSet<String>>);

/// The right to greet a manager; given back when it is dropped.
struct Turn<'a>(&'a Greeted, &'a str);

impl Greeted {
    fn locked(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn contains(&self, manager: &str) -> bool {
        self.locked().contains(manager)
    }

    /// None: another try has it.
    fn turn<'a>(&'a self, manager: &'a str) -> Option<Turn<'a>> {
        let is_first = self.locked().insert(manager.to_owned());
        // Made only where it is given: dropping it takes the manager off the list.
        is_first.then(|| Turn(self, manager))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.locked().remove(self.1);
    }
}

impl Sessions {
    /// Until a manager serves. Tries that are under way then are given up.
    pub(super) async fn reach(&self, candidates: &mut Candidates, words: &mut Words) -> Opened {
        let greeted = Greeted::default();
        // Who named whom as the leader.
        let mut named = BTreeMap::<String, String>::new();
        let mut tries = FuturesUnordered::new();
        let mut next_at = Instant::now();
        let mut calls = self.acquaintance.calls.begin();
        let mut heeds_from = Instant::now();
        loop {
            let (manager, outcome) = tokio::select! {
                Some(ended) = tries.next() => ended,
                Ok(()) = calls.changed(), if Instant::now() >= heeds_from => {
                    calls.mark_unchanged();
                    heeds_from = Instant::now() + CALLS_APART;
                    if candidates.called(self.candidates()) {
                        next_at = Instant::now();
                    }
                    continue;
                }
                () = sleep_until(next_at), if tries.len() < TRIES_MAX => {
                    let is_busy = |manager: &str| {
                        greeted.contains(manager) || named.get(manager).is_some_and(|leader| greeted.contains(leader))
                    };
                    if let Some(manager) = candidates.next(|manager| !is_busy(manager)) {
                        named.remove(&manager);
                        tries.push(self.attempt(manager, &greeted));
                    }
                    next_at = Instant::now() + candidates.beside();
                    continue;
                }
            };
            candidates.learn(self.candidates());
            let pause = match outcome {
                Outcome::Opened(opened) => {
                    self.acquaintance.calls.end();
                    return *opened;
                }
                Outcome::Superseded => continue,
                Outcome::Silent => {
                    words.tell(&manager, &"no answer in time".into());
                    continue;
                }
                Outcome::Refused(Refusal { leader: Some(leader), .. }) => {
                    debug!(%manager, %leader, "sent on to the leader");
                    // One that sends us on itself is known not to lead.
                    let is_circle = leader == manager || named.contains_key(&leader);
                    named.insert(manager, leader.clone());
                    if is_circle {
                        candidates.refused(rand::random())
                    } else {
                        candidates.redirected(leader, rand::random())
                    }
                }
                Outcome::Refused(refusal) => {
                    words.tell(&manager, &refusal);
                    candidates.refused(rand::random())
                }
            };
            next_at = Instant::now() + pause;
        }
    }

    async fn attempt(&self, manager: String, greeted: &Greeted) -> (String, Outcome) {
        let outcome = self.outcome(&manager, greeted).await;
        (manager, outcome)
    }

    async fn outcome(&self, manager: &str, greeted: &Greeted) -> Outcome {
        let channel = match open::connect(self, manager).await {
            Some(Ok(channel)) => channel,
            Some(Err(refusal)) => return Outcome::Refused(refusal),
            None => return Outcome::Silent,
        };
        let Some(_turn) = greeted.turn(manager) else { return Outcome::Superseded };
        match open::greet(self, manager, channel).await {
            Some(Ok(opened)) => Outcome::Opened(Box::new(opened)),
            Some(Err(refusal)) => Outcome::Refused(refusal),
            None => Outcome::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_manager_says_is_told_rather_than_that_another_is_away() {
        let (trouble, told) = watch::channel(None);
        let mut words = Words::new(trouble);
        words.tell("a", &"no answer in time".into());
        assert_eq!(told.borrow().as_deref(), Some("no session with a: no answer in time"));
        let removed = tonic::Status::permission_denied("this node was removed");
        words.tell("b", &removed.into());
        words.tell("a", &"no connection".into());
        assert_eq!(told.borrow().as_deref(), Some("no session with b: this node was removed"));
        words.hush();
        assert_eq!(*told.borrow(), None);
        words.tell("b", &"no answer in time".into());
        assert_eq!(told.borrow().as_deref(), Some("no session with a: no connection"));
    }

    #[test]
    fn a_manager_is_greeted_once_at_a_time() {
        let greeted = Greeted::default();
        let first = greeted.turn("a").expect("nobody greets it");
        assert!(greeted.turn("a").is_none() && greeted.turn("a").is_none());
        assert!(greeted.contains("a") && greeted.turn("b").is_some());
        drop(first);
        assert!(!greeted.contains("a") && greeted.turn("a").is_some());
    }
}
