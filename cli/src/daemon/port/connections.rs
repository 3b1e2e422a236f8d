//! The connections of other nodes, by node, so that a node that is removed or loses its role is cut off at once and not
//! at its next call; and so is one whose certificate is of a root that is given up.
//!
//! Pure but for the lock. Who is a member is asked of a [`Roll`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_manager::authorization::{Roll, Standing};
use muster_proto::{id::NodeId, node::Role};
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

/// Of one node at once. An agent opens one for each client that it passes on.
const OF_ONE_MAX: usize = 4_096;
/// Of all nodes at once; each takes a descriptor and some 30 KiB.
const ALL_MAX: usize = 16_384;

/// What a connection has shown and must not outlast; one for all connections that have shown the same.
pub(super) type Certificates = Arc<[CertificateDer<'static>]>;

#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    by_node: BTreeMap<NodeId, BTreeMap<u64, Entry>>,
    count: usize,
    numbers_given: u64,
}

#[derive(Debug)]
struct Entry {
    cut: CancellationToken,
    certificates: Certificates,
    /// The state has said so since the connection began. A copy of the state that lags behind has not yet, and must not
    /// cut off a manager that it is about to hear of.
    was_manager: bool,
}

/// A connection's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    connections: Connections,
    node: NodeId,
    number: u64,
    /// Cancelled once the connection has to end.
    pub(super) cut: CancellationToken,
}

impl Connections {
    /// None: there are too many. What the roll says of the node is looked at in here, so that no change of it falls
    /// between this and the reviews.
    pub(super) fn enter(
        &self,
        node: NodeId,
        certificates: &[CertificateDer<'static>],
        roll: &dyn Roll,
    ) -> Option<Seat> {
        let mut table = self.table();
        if table.count >= ALL_MAX || table.by_node.get(&node).map_or(0, BTreeMap::len) >= OF_ONE_MAX {
            return None;
        }
        table.numbers_given += 1;
        table.count += 1;
        let (number, cut) = (table.numbers_given, CancellationToken::new());
        let was_manager = roll.standing(node) == Standing::Member(Role::Manager);
        let entries = table.by_node.entry(node).or_default();
        let newest = entries.values().next_back().map(|entry| &entry.certificates);
        let same = newest.filter(|shown| ***shown == *certificates).cloned();
        let certificates = same.unwrap_or_else(|| certificates.into());
        entries.insert(number, Entry { cut: cut.clone(), certificates, was_manager });
        Some(Seat { connections: self.clone(), node, number, cut })
    }

    /// Ends the connections of whoever was removed, or was a manager and is none any more.
    pub(super) fn review(&self, roll: &dyn Roll) {
        for (node, entries) in &mut self.table().by_node {
            let standing = roll.standing(*node);
            for entry in entries.values_mut() {
                match standing {
                    Standing::Removed => entry.cut.cancel(),
                    Standing::Member(Role::Worker) if entry.was_manager => entry.cut.cancel(),
                    Standing::Member(Role::Manager) => entry.was_manager = true,
                    Standing::Member(Role::Worker) | Standing::Unlisted => {}
                }
            }
        }
    }

    /// Ends the connections whose certificates are not trusted any more. Each is asked about once, and not under the
    /// lock: that takes its time.
    pub(super) fn recheck(&self, trusted: impl Fn(&[CertificateDer<'static>]) -> bool) {
        let shown: Vec<(NodeId, Certificates)> = {
            let table = self.table();
            let each = table
                .by_node
                .iter()
                .flat_map(|(node, entries)| entries.values().map(|entry| (*node, Arc::clone(&entry.certificates))));
            let mut shown: Vec<_> = each.collect();
            shown.dedup_by(|one, other| one.0 == other.0 && Arc::ptr_eq(&one.1, &other.1));
            shown
        };
        for (node, certificates) in shown.into_iter().filter(|(_, certificates)| !trusted(certificates)) {
            let table = self.table();
            let of_node = table.by_node.get(&node).into_iter().flat_map(BTreeMap::values);
            of_node
                .filter(|entry| Arc::ptr_eq(&entry.certificates, &certificates))
                .for_each(|entry| entry.cut.cancel());
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        let Some(entries) = table.by_node.get_mut(&self.node) else { return };
        let left = entries.remove(&self.number).is_some();
        if entries.is_empty() {
            table.by_node.remove(&self.node);
        }
        table.count -= usize::from(left);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;

    use super::*;

    const NODE: NodeId = NodeId::from_bits(1);
    const OTHER: NodeId = NodeId::from_bits(2);

    #[derive(Debug)]
    struct Says(Standing);

    impl Roll for Says {
        fn standing(&self, node: NodeId) -> Standing {
            if node == NODE { self.0 } else { Standing::Member(Role::Manager) }
        }

        fn changed(&self) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn who_was_removed_or_demoted_is_cut_off_and_who_is_not_known_yet_is_not() {
        let connections = Connections::default();
        let enter = |node, standing| connections.enter(node, &[], &Says(standing)).unwrap();
        let review = |standing| connections.review(&Says(standing));
        let (seat, other) = (enter(NODE, Standing::Unlisted), enter(OTHER, Standing::Unlisted));
        for standing in [Standing::Unlisted, Standing::Member(Role::Worker), Standing::Member(Role::Manager)] {
            review(standing);
            assert!(!seat.cut.is_cancelled(), "{standing:?}");
        }
        review(Standing::Member(Role::Worker));
        assert!(seat.cut.is_cancelled(), "demoted");
        let seat = enter(NODE, Standing::Member(Role::Manager));
        review(Standing::Member(Role::Worker));
        assert!(seat.cut.is_cancelled(), "demoted before the first review");
        let seats = [NODE, NODE].map(|node| enter(node, Standing::Member(Role::Worker)));
        review(Standing::Removed);
        assert!(seats.iter().all(|seat| seat.cut.is_cancelled()), "with all its connections");
        assert!(!other.cut.is_cancelled(), "and nobody else");
    }

    #[test]
    fn whose_certificate_is_not_trusted_any_more_is_cut_off_and_each_is_asked_about_once() {
        let connections = Connections::default();
        let enter = |node, shown: u8| {
            let shown = [CertificateDer::from(vec![shown])];
            connections.enter(node, &shown, &Says(Standing::Unlisted)).unwrap()
        };
        let seats = [enter(NODE, 1), enter(NODE, 1), enter(NODE, 2), enter(OTHER, 1)];
        let asked = std::cell::Cell::new(0);
        connections.recheck(|shown| {
            asked.set(asked.get() + 1);
            shown[0].as_ref() == [2]
        });
        assert_eq!(seats.map(|seat| seat.cut.is_cancelled()), [true, true, false, true]);
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn one_node_has_only_so_many() {
        let connections = Connections::default();
        let enter = |node| connections.enter(node, &[], &Says(Standing::Unlisted));
        let seats: Vec<Seat> = (0..OF_ONE_MAX).map(|_| enter(NODE).unwrap()).collect();
        assert!(enter(NODE).is_none());
        assert!(enter(OTHER).is_some());
        drop(seats);
        assert!(enter(NODE).is_some());
        assert_eq!(connections.table().count, 0);
    }
}
