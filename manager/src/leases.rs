//! Which nodes are alive: the leader's memory, renewed by their heartbeats.
//!
//! The dispatcher renews; the leader loop begins, ticks and ends it; the planner and the RPCs read it. Never
//! replicated: a new leader starts afresh and grants every node one lease. The rules are in [`ledger`].

mod ledger;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_core::liveness::Liveness;
use muster_proto::{
    id::NodeId,
    node::{Node, NodeState},
    time::Timestamp,
};
use tokio::{sync::Notify, time::Instant};

pub(crate) use crate::leases::ledger::TICK;
pub use crate::leases::ledger::Terms;
use crate::{clock::Clock, leases::ledger::Ledger};

#[derive(Clone, Debug)]
pub struct Leases(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Counted from here on tokio's clock.
    origin: Instant,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
    changed: Notify,
}

impl Leases {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let inner =
            Inner { origin: Instant::now(), clock, ledger: Mutex::new(Ledger::default()), changed: Notify::new() };
        Self(Arc::new(inner))
    }

    /// A heartbeat came, of an agent that was told this lease. Without effect on a manager that does not lead.
    pub fn renew(&self, node: NodeId, told: Duration) {
        let now = self.now();
        if self.ledger().renew(now, node, told) {
            self.0.changed.notify_one();
        }
    }

    #[must_use]
    pub fn state(&self, node: NodeId) -> NodeState {
        self.ledger().liveness().of(node)
    }

    /// When its last heartbeat came to this manager, as leader.
    #[must_use]
    pub fn last_seen(&self, node: NodeId) -> Option<Timestamp> {
        let (now, wall) = (self.now(), self.0.clock.now());
        let ago = now.saturating_sub(self.ledger().last_seen(node)?);
        Some(Timestamp::from_millis(wall.millis().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))))
    }

    #[must_use]
    pub fn liveness(&self) -> Liveness {
        self.ledger().liveness().clone()
    }

    /// This manager leads from now on: every node gets one fresh lease.
    pub(crate) fn begin<'a>(&self, terms: Terms, nodes: impl Iterator<Item = &'a Node>) {
        let (now, wall) = (self.now(), self.0.clock.now());
        self.ledger().begin(now, wall, terms, nodes.map(|node| node.id));
    }

    /// The nodes and the cluster's settings as they are now: who is new gets a lease, who is gone is forgotten.
    pub(crate) fn cover<'a>(&self, terms: Terms, nodes: impl Iterator<Item = &'a Node>) {
        let now = self.now();
        self.ledger().cover(now, terms, &nodes.map(|node| node.id).collect());
    }

    /// Lets leases run out.
    pub(crate) fn tick(&self) {
        let (now, wall) = (self.now(), self.0.clock.now());
        if self.ledger().tick(now, wall) {
            self.0.changed.notify_one();
        }
    }

    /// This manager no longer leads: it knows nothing of any node.
    pub(crate) fn end(&self) {
        self.ledger().end();
    }

    /// The nodes whose state changed since the last call, once there are any. Cancel-safe.
    pub(crate) async fn changed(&self) -> BTreeSet<NodeId> {
        loop {
            let changed = self.ledger().take_changed();
            if !changed.is_empty() {
                return changed;
            }
            self.0.changed.notified().await;
        }
    }

    fn now(&self) -> Duration {
        self.0.origin.elapsed()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
