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

use muster_core::{
    liveness::Liveness,
    state::State,
    terms::{self, Terms},
};
use muster_proto::{id::NodeId, node::NodeState, time::Timestamp};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub(crate) use crate::leases::ledger::TICK;
use crate::{
    clock::Clock,
    leases::ledger::{Ledger, Now},
};

#[derive(Clone, Debug)]
pub struct Leases(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Counted from here on tokio's clock.
    origin: Instant,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
    changed: Notify,
    /// The nodes that are down, for whoever must not send anybody there.
    down: watch::Sender<Arc<BTreeSet<NodeId>>>,
}

impl Leases {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            origin: Instant::now(),
            clock,
            ledger: Mutex::new(Ledger::default()),
            changed: Notify::new(),
            down: watch::Sender::default(),
        }))
    }

    /// A session began in which the agent is told this lease.
    pub(crate) fn welcome(&self, node: NodeId, told: Duration) {
        let now = self.elapsed();
        let mut ledger = self.ledger();
        if ledger.welcome(now, node, told) {
            self.0.changed.notify_one();
            self.publish(&ledger);
        }
    }

    /// A heartbeat came, of an agent that was told this lease. Without effect on a manager that does not lead.
    pub fn renew(&self, node: NodeId, told: Duration) {
        let now = self.elapsed();
        let mut ledger = self.ledger();
        if ledger.renew(now, node, told) {
            self.0.changed.notify_one();
            self.publish(&ledger);
        }
    }

    #[must_use]
    pub fn state(&self, node: NodeId) -> NodeState {
        self.ledger().liveness().of(node)
    }

    /// When its last heartbeat came to this manager, as leader.
    #[must_use]
    pub fn last_seen(&self, node: NodeId) -> Option<Timestamp> {
        let (now, wall) = (self.elapsed(), self.0.clock.now());
        let ago = now.saturating_sub(self.ledger().last_seen(node)?);
        Some(Timestamp::from_millis(wall.millis().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))))
    }

    #[must_use]
    pub fn liveness(&self) -> Liveness {
        self.ledger().liveness().clone()
    }

    /// This manager leads and knows what earlier leaders have committed: every node gets one fresh lease. `now` is read from
    /// the state's clock, before the state is read.
    pub(crate) fn begin(&self, now: Timestamp, state: &State) {
        let first_lease = terms::longest_lease(state, now);
        let now = self.now(now);
        let mut ledger = self.ledger();
        ledger.begin(now, Terms::of(state), first_lease, state.nodes().map(|node| node.id));
        self.publish(&ledger);
    }

    /// The nodes and the cluster's settings as they are now: who is new gets a lease, who is gone is forgotten.
    pub(crate) fn cover(&self, state: &State) {
        let now = self.elapsed();
        let mut ledger = self.ledger();
        ledger.cover(now, Terms::of(state), &state.nodes().map(|node| node.id).collect());
        self.publish(&ledger);
    }

    /// Lets leases run out. `now` is read from the state's clock. Called before each plan too, so that none is made at a
    /// time that the leases do not know of.
    pub(crate) fn tick(&self, now: Timestamp) {
        let now = self.now(now);
        let mut ledger = self.ledger();
        if ledger.tick(now) {
            self.0.changed.notify_one();
            self.publish(&ledger);
        }
    }

    /// This manager no longer leads: it knows nothing of any node.
    pub(crate) fn end(&self) {
        let mut ledger = self.ledger();
        ledger.end();
        self.publish(&ledger);
    }

    /// The nodes that are down, as that changes. None while this manager does not lead.
    pub(crate) fn down(&self) -> watch::Receiver<Arc<BTreeSet<NodeId>>> {
        self.0.down.subscribe()
    }

    /// Wakes those who watch only where it is news to them: nodes that come and go well are none.
    fn publish(&self, ledger: &Ledger) {
        self.0.down.send_if_modified(|told| {
            let same = ledger.liveness().all_down().map(|(node, _)| node).eq(told.iter().copied());
            if !same {
                *told = Arc::new(ledger.liveness().all_down().map(|(node, _)| node).collect());
            }
            !same
        });
    }

    /// The nodes whose state changed since the last call, once there are any. Cancel-safe.
    pub(crate) async fn changed(&self) -> BTreeSet<NodeId> {
        loop {
            let changed = self.ledger().take_changed();
            if !changed.is_empty() {
                changed.iter().for_each(|node| self.tell(*node));
                return changed;
            }
            self.0.changed.notified().await;
        }
    }

    /// Whoever asks later why tasks were replaced finds it in the log.
    fn tell(&self, node: NodeId) {
        match self.state(node) {
            NodeState::Down => tracing::warn!(%node, "the node is down: its lease is over"),
            NodeState::Ready => tracing::info!(%node, "the node is ready"),
            NodeState::Unknown => {}
        }
    }

    fn now(&self, state: Timestamp) -> Now {
        Now { elapsed: self.elapsed(), wall: self.0.clock.now(), state }
    }

    fn elapsed(&self) -> Duration {
        self.0.origin.elapsed()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
