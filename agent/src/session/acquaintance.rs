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
    /// Where managers are by what one said that this node has no session with. Forgotten once there is one.
    pub(crate) called: watch::Sender<Vec<String>>,
}

impl Acquaintance {
    /// The latest first.
    pub(super) fn managers(&self) -> Vec<String> {
        let called = self.called.borrow().clone();
        called.into_iter().chain(self.known.get().managers).collect()
    }

    pub(super) fn calls(&self) -> watch::Receiver<Vec<String>> {
        self.called.subscribe()
    }

    pub(super) fn incarnation(&self) -> u64 {
        self.known.get().incarnation
    }

    pub(super) fn meet(&self, incarnation: u64) {
        self.known.set(Known { incarnation, ..self.known.get() });
    }

    pub(super) fn ordered(&self, orders: NodeOrders) {
        replace(&self.called, Vec::new());
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
pub(crate) fn replace<T: PartialEq>(told: &watch::Sender<T>, value: T) {
    told.send_if_modified(|held| {
        let changed = *held != value;
        *held = value;
        changed
    });
}
