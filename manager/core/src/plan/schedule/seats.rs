//! What every node holds, counted over the tasks of all services. A seat is a node with that count.

use muster_proto::{
    id::NodeId,
    node::{Node, NodeState},
    resources::Resources,
    task::Template,
};

use super::footprint::Footprint;

/// A node's place in [`Seats`]: the same for the whole pass, and in order of node id.
pub(super) type SeatIndex = usize;

#[derive(Clone, Debug, Default)]
pub(super) struct NodeUse {
    pub reserved: Resources,
    /// Tasks of all services that are wanted to run.
    pub active: u32,
    /// With repeats: two tasks may hold one port for a moment, one of them on the way out of a lost host.
    pub host_ports: Vec<u16>,
}

#[derive(Debug)]
pub(super) struct Seat<'a> {
    pub node: &'a Node,
    pub state: NodeState,
    pub in_use: NodeUse,
}

#[derive(Debug)]
pub(super) struct Seats<'a> {
    seats: Vec<Seat<'a>>,
    /// Seats in the order in which something about them changed, with repeats. A reader remembers how far it read.
    changes: Vec<SeatIndex>,
}

impl NodeUse {
    pub(super) fn take(&mut self, footprint: &Footprint) {
        let asked = &footprint.template.spec.resources.reservations;
        self.reserved.nano_cpus = self.reserved.nano_cpus.saturating_add(asked.nano_cpus);
        self.reserved.memory_bytes = self.reserved.memory_bytes.saturating_add(asked.memory_bytes);
        self.active += u32::from(footprint.active);
        self.bind_ports(&footprint.template);
    }

    pub(super) fn give_back(&mut self, footprint: &Footprint) {
        let asked = &footprint.template.spec.resources.reservations;
        self.reserved.nano_cpus = self.reserved.nano_cpus.saturating_sub(asked.nano_cpus);
        self.reserved.memory_bytes = self.reserved.memory_bytes.saturating_sub(asked.memory_bytes);
        self.active = self.active.saturating_sub(u32::from(footprint.active));
        self.free_ports(&footprint.template);
    }

    fn bind_ports(&mut self, template: &Template) {
        self.host_ports.extend(published(template));
    }

    fn free_ports(&mut self, template: &Template) {
        for port in published(template) {
            if let Some(at) = self.host_ports.iter().position(|held| *held == port) {
                self.host_ports.swap_remove(at);
            }
        }
    }
}

/// Zero is left to the engine, which finds a free one.
fn published(template: &Template) -> impl Iterator<Item = u16> {
    template.host_ports.iter().map(|port| port.published).filter(|port| *port != 0)
}

impl Seat<'_> {
    /// What is neither reserved nor more than the node has; nothing before the node has described itself.
    pub(super) fn free(&self) -> Resources {
        free(self.node, &self.in_use)
    }
}

pub(super) fn free(node: &Node, in_use: &NodeUse) -> Resources {
    let total = node.description.as_ref().map(|d| d.resources).unwrap_or_default();
    Resources {
        nano_cpus: total.nano_cpus.saturating_sub(in_use.reserved.nano_cpus),
        memory_bytes: total.memory_bytes.saturating_sub(in_use.reserved.memory_bytes),
    }
}

impl<'a> Seats<'a> {
    /// `nodes` in order of id.
    pub(super) fn new(nodes: impl Iterator<Item = (&'a Node, NodeState)>) -> Self {
        let seats: Vec<Seat<'a>> =
            nodes.map(|(node, state)| Seat { node, state, in_use: NodeUse::default() }).collect();
        debug_assert!(seats.is_sorted_by_key(|seat| seat.node.id), "seats are found by binary search");
        Self { seats, changes: Vec::new() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Seat<'a>> {
        self.seats.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn at(&self, index: SeatIndex) -> &Seat<'a> {
        &self.seats[index]
    }

    /// None: the node has left the cluster.
    pub(super) fn index_of(&self, node: NodeId) -> Option<SeatIndex> {
        self.seats.binary_search_by_key(&node, |seat| seat.node.id).ok()
    }

    pub(super) fn take(&mut self, footprint: &Footprint) {
        if let Some(index) = self.index_of(footprint.node) {
            self.seats[index].in_use.take(footprint);
            self.touch(index);
        }
    }

    pub(super) fn give_back(&mut self, footprint: &Footprint) {
        if let Some(index) = self.index_of(footprint.node) {
            self.seats[index].in_use.give_back(footprint);
            self.touch(index);
        }
    }

    /// One active task there does not count until [`Seats::count_in`].
    pub(super) fn count_out(&mut self, index: SeatIndex) {
        let active = &mut self.seats[index].in_use.active;
        *active = active.saturating_sub(1);
        self.touch(index);
    }

    pub(super) fn count_in(&mut self, index: SeatIndex) {
        self.seats[index].in_use.active += 1;
        self.touch(index);
    }

    /// The ports of one task there do not count until [`Seats::bind_ports`].
    pub(super) fn free_ports(&mut self, index: SeatIndex, template: &Template) {
        self.seats[index].in_use.free_ports(template);
        self.touch(index);
    }

    pub(super) fn bind_ports(&mut self, index: SeatIndex, template: &Template) {
        self.seats[index].in_use.bind_ports(template);
        self.touch(index);
    }

    /// Something that a ranking reads has changed on this seat.
    fn touch(&mut self, index: SeatIndex) {
        self.changes.push(index);
    }

    /// Where a reader that knows everything stands.
    pub(super) fn change_count(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn changes_since(&self, count: usize) -> &[SeatIndex] {
        &self.changes[count..]
    }
}
