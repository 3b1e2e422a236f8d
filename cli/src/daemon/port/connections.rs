//! The connections of other nodes, by node, so that a node that is removed or loses its role is cut off at once and not
//! at its next call; and so is one whose certificate is of a root that is given up. What clients of an ingress need is
//! counted apart from calls: however many they are, nodes and managers still reach each other.
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

/// What a node's connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To the services of this node's manager and agent.
    Calls,
    /// One for each client whose bytes the node passes on.
    Relays,
}

/// What a connection has shown and must not outlast; one for all connections that have shown the same.
pub(super) type Certificates = Arc<[CertificateDer<'static>]>;

impl Purpose {
    /// Of one node at once.
    fn of_one_max(self) -> usize {
        match self {
            // A session, Raft's two, and those that the commands of its users take.
            Purpose::Calls => 256,
            Purpose::Relays => 4_096,
        }
    }

    /// Of all nodes at once; each takes a descriptor and some 30 KiB.
    fn all_max(self) -> usize {
        match self {
            // Ten thousand nodes, each with a session, and some to spare.
            Purpose::Calls | Purpose::Relays => 16_384,
        }
    }

    /// A relay is nothing that a role allows: demoting a node must not break its clients' requests.
    fn needs_role(self) -> bool {
        match self {
            Purpose::Calls => true,
            Purpose::Relays => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Connections {
    purpose: Purpose,
    table: Arc<Mutex<Table>>,
}

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
    pub(super) fn new(purpose: Purpose) -> Self {
        Self { purpose, table: Arc::default() }
    }

    /// None: there are too many. What the roll says of the node is looked at in here, so that no change of it falls
    /// between this and the reviews.
    pub(super) fn enter(
        &self,
        node: NodeId,
        certificates: &[CertificateDer<'static>],
        roll: &dyn Roll,
    ) -> Option<Seat> {
        let mut table = self.table();
        let of_one = table.by_node.get(&node).map_or(0, BTreeMap::len);
        if table.count >= self.purpose.all_max() || of_one >= self.purpose.of_one_max() {
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

    /// Ends the connections of whoever was removed, and calls of whoever was a manager and is none any more.
    pub(super) fn review(&self, roll: &dyn Roll) {
        for (node, entries) in &mut self.table().by_node {
            let standing = roll.standing(*node);
            for entry in entries.values_mut() {
                match standing {
                    Standing::Removed => entry.cut.cancel(),
                    Standing::Member(Role::Worker) if entry.was_manager && self.purpose.needs_role() => {
                        entry.cut.cancel();
                    }
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
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
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
        let connections = Connections::new(Purpose::Calls);
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
        let connections = Connections::new(Purpose::Calls);
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
        let connections = Connections::new(Purpose::Calls);
        let enter = |node| connections.enter(node, &[], &Says(Standing::Unlisted));
        let seats: Vec<Seat> = (0..Purpose::Calls.of_one_max()).map(|_| enter(NODE).unwrap()).collect();
        assert!(enter(NODE).is_none());
        assert!(enter(OTHER).is_some());
        drop(seats);
        assert!(enter(NODE).is_some());
        assert_eq!(connections.table().count, 0);
    }

    #[test]
    fn relays_go_on_when_their_node_is_demoted_and_end_when_it_is_removed() {
        let connections = Connections::new(Purpose::Relays);
        let seat = connections.enter(NODE, &[], &Says(Standing::Member(Role::Manager))).unwrap();
        connections.review(&Says(Standing::Member(Role::Worker)));
        assert!(!seat.cut.is_cancelled(), "a client's request ended because a role changed");
        connections.review(&Says(Standing::Removed));
        assert!(seat.cut.is_cancelled());
    }
}
