//! When members were last heard of: the leader by the others, everyone else by the leader. Kept where messages pass, so
//! that a slow disk of this manager's own is not taken for another's silence.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_proto::version::Term;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

#[derive(Clone, Debug)]
pub(crate) struct Contact(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    times: Mutex<Times>,
    /// Whenever a member has followed.
    follows: Notify,
}

#[derive(Debug)]
struct Times {
    leader: Instant,
    answers: BTreeMap<u64, Instant>,
    followed: BTreeMap<u64, (Term, Instant)>,
}

impl Contact {
    pub(crate) fn new() -> Self {
        let times = Times { leader: Instant::now(), answers: BTreeMap::new(), followed: BTreeMap::new() };
        Self(Arc::new(Inner { times: Mutex::new(times), follows: Notify::new() }))
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

    /// A member has taken a message that this manager sent it then as the leader of that term.
    pub(crate) fn followed_in(&self, raft_id: u64, term: Term, sent: Instant) {
        let mut times = self.times();
        let last = times.followed.entry(raft_id).or_insert((term, sent));
        *last = (*last).max((term, sent));
        drop(times);
        self.0.follows.notify_waiters();
    }

    /// Of each member the latest term it followed this manager in, and when what it took last was sent.
    pub(crate) fn followed(&self) -> BTreeMap<u64, (Term, Instant)> {
        self.times().followed.clone()
    }

    /// Returns when a member follows after this call.
    pub(crate) fn follows(&self) -> Notified<'_> {
        self.0.follows.notified()
    }

    /// How long ago each member that ever answered did so last.
    pub(crate) fn answers(&self) -> BTreeMap<u64, Duration> {
        self.times().answers.iter().map(|(id, at)| (*id, at.elapsed())).collect()
    }
}
