//! When members were last heard of: the leader by the others, everyone else by the leader. Kept where messages pass, so
//! that a slow disk of this manager's own is not taken for another's silence.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

#[derive(Clone, Debug)]
pub(crate) struct Contact(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    leader: Instant,
    answers: BTreeMap<u64, Instant>,
}

impl Contact {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Times { leader: Instant::now(), answers: BTreeMap::new() })))
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
}
