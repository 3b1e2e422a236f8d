//! What managers said of the cluster that must outlast the daemon: where they are, and how recent they are.

use std::collections::BTreeSet;

use muster_proto::{id::NodeId, node::NodeOrders};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::store::kept::Kept;

/// As it is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// `host:port` each.
    pub(crate) managers: Vec<String>,
    /// The highest that a manager has named. One that names a lower was left behind by a recovery of the cluster.
    pub(crate) incarnation: u64,
    /// Nodes that are none any more: nothing is taken from them, whatever certificates they have.
    #[serde(default)]
    pub(crate) removed: Vec<NodeId>,
}

#[derive(Debug)]
pub(crate) struct Acquaintance {
    pub(crate) known: Kept<Known>,
    /// None until a manager has spoken since the agent began.
    pub(crate) orders: watch::Sender<Option<NodeOrders>>,
    /// As in what is known.
    pub(crate) managers: watch::Sender<Vec<String>>,
    pub(crate) removed: watch::Sender<BTreeSet<NodeId>>,
    pub(crate) calls: Calls,
}

/// What managers said at this node's port that it has no session with. Anybody with a manager's certificate can call, so
/// a call only adds to whom is asked.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    known: Kept<Known>,
    /// None while there is a session: no call is taken.
    named: watch::Sender<Option<Vec<String>>>,
}

/// Of a manager that a recovery of the cluster has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node has heard of incarnation {known} of the cluster, and the manager that called is of {called}; run \
     `muster leave --force` there and join it again"
)]
pub struct LeftBehind {
    known: u64,
    called: u64,
}

impl Calls {
    pub(crate) fn new(known: Kept<Known>) -> Self {
        Self { known, named: watch::Sender::new(None) }
    }

    pub(crate) fn take(&self, incarnation: u64, managers: Vec<String>) -> Result<(), LeftBehind> {
        let known = self.known.get().incarnation;
        if incarnation < known {
            return Err(LeftBehind { known, called: incarnation });
        }
        self.named.send_if_modified(|named| {
            let is_news = named.as_ref().is_some_and(|named| *named != managers);
            if is_news {
                *named = Some(managers);
            }
            is_news
        });
        Ok(())
    }

    /// From now on there is no session. Hears of calls.
    pub(super) fn begin(&self) -> watch::Receiver<Option<Vec<String>>> {
        self.named.send_replace(Some(Vec::new()));
        self.named.subscribe()
    }

    pub(super) fn end(&self) {
        self.named.send_replace(None);
    }

    fn named(&self) -> Vec<String> {
        self.named.borrow().clone().unwrap_or_default()
    }
}

impl Acquaintance {
    /// Those of a call and those of the last session in turns: none keeps the others from being asked.
    pub(super) fn managers(&self) -> Vec<String> {
        let (mut called, mut known) = (self.calls.named().into_iter(), self.known.get().managers.into_iter());
        let mut managers = Vec::new();
        loop {
            let turn = [called.next(), known.next()];
            if turn == [None, None] {
                return managers;
            }
            managers.extend(turn.into_iter().flatten());
        }
    }

    pub(super) fn incarnation(&self) -> u64 {
        self.known.get().incarnation
    }

    pub(super) fn meet(&self, incarnation: u64) {
        self.known.set(Known { incarnation, ..self.known.get() });
    }

    pub(super) fn ordered(&self, orders: NodeOrders) {
        // A manager that knows of none cannot be what this one is.
        if !orders.managers.is_empty() {
            self.known.set(Known { managers: orders.managers.clone(), ..self.known.get() });
            replace(&self.managers, orders.managers.clone());
        }
        self.known.set(Known { removed: orders.removed.clone(), ..self.known.get() });
        replace(&self.removed, orders.removed.iter().copied().collect());
        replace(&self.orders, Some(orders));
    }
}

/// Who waits for another value hears of no other.
fn replace<T: PartialEq>(told: &watch::Sender<T>, value: T) {
    told.send_if_modified(|held| {
        let changed = *held != value;
        *held = value;
        changed
    });
}
