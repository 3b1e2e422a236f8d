//! What must hold, a file each. Some are looked at whenever something is applied, some once the cluster has healed.

pub mod acknowledged;
pub mod agreement;
pub mod damage;
pub mod election;
pub mod lease;
pub mod log_matching;
pub mod stamps;
pub mod stopping;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_manager::{
    Handle,
    outside::Store,
    raft::promise::{self, Promise},
};
use muster_proto::id::NodeId;
use tokio::{sync::watch, time::Instant};

use crate::trace::Trace;

/// What has been seen so far, and what was wrong with it.
#[derive(Clone, Debug)]
pub struct Invariants(Arc<Mutex<Seen>>, Trace);

#[derive(Debug, Default)]
struct Seen {
    election: election::Seen,
    agreement: agreement::Seen,
    stamps: stamps::Seen,
    lease: lease::Seen,
    broken: Vec<String>,
}

impl Invariants {
    #[must_use]
    pub fn new(trace: Trace) -> Self {
        Self(Arc::default(), trace)
    }

    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        self.seen().broken.clone()
    }

    pub fn check(&self, result: Result<(), String>) {
        if let Err(what) = result {
            self.1.event(format_args!("BROKEN: {what}"));
            self.seen().broken.push(what);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them vote from now on.
    pub fn formed(&self, voters: u64) {
        self.seen().election.formed(voters);
    }

    /// A manager has said so to another.
    pub fn promises(&self, raft_id: u64, promise: Promise) {
        let result = self.seen().election.promises(raft_id, promise);
        self.check(result);
    }

    /// A node knows that its heartbeat was answered.
    pub fn renewed(&self, node: NodeId, raft_id: u64, sent: Instant) {
        let result = self.seen().lease.renewed(node, raft_id, sent);
        self.check(result);
    }

    /// What a manager's disk knows when it starts.
    pub fn starts(&self, raft_id: u64, store: &dyn Store) {
        let kept = promise::kept(store).map_err(|why| format!("manager {raft_id} starts without its vote: {why}"));
        let result = kept.and_then(|kept| self.seen().election.starts(raft_id, kept));
        self.check(result);
    }

    /// Follows one process to its end.
    pub async fn watch(self, raft_id: u64, handle: Handle) {
        tokio::join!(self.watch_leadership(raft_id, &handle), self.watch_state(raft_id, &handle));
    }

    async fn watch_leadership(&self, raft_id: u64, handle: &Handle) {
        let mut leadership = handle.replica().leadership();
        loop {
            let leading = leadership.borrow_and_update().leading();
            if let Some(term) = leading {
                self.1.event(format_args!("{raft_id}: leads in term {term}"));
                self.seen().lease.leads(term, raft_id);
                let result = self.seen().election.leads(term, raft_id);
                self.check(result);
            }
            if leadership.changed().await.is_err() {
                return;
            }
        }
    }

    async fn watch_state(&self, raft_id: u64, handle: &Handle) {
        let mut changes: watch::Receiver<u64> = handle.replica().changes();
        // What a process begins with may be older than what its predecessor had.
        let mut before = None;
        loop {
            changes.borrow_and_update();
            let (applied, stamp) = handle.replica().read(|state| (state.applied(), state.stamped()));
            let result = self.seen().stamps.applied(raft_id, &mut before, applied.index, stamp);
            self.check(result);
            if self.seen().agreement.wants(applied.index) {
                let digest = handle.replica().state_digest().map_err(|why| why.to_string());
                let result = digest.and_then(|digest| self.seen().agreement.applied(raft_id, digest));
                self.check(result);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
