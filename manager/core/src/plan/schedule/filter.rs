//! What a node must be and have. Each filter is one file with one function, which checks and explains at once.
//!
//! To add one: its file, its line here, and what it reads in the spec and in [`muster_proto::waiting::Refusal`].

mod availability;
mod constraint;
mod host_port;
mod max_replicas;
mod ready;
mod resources;

use muster_proto::{
    node::{Node, NodeState},
    task::Template,
    waiting::Refusal,
};

use super::seats::NodeUse;

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want<'a> {
    pub template: &'a Template,
}

/// What a node is and has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer<'a> {
    pub node: &'a Node,
    pub state: NodeState,
    pub in_use: &'a NodeUse,
    /// Active tasks of the service here, in other slots than the one to be placed.
    pub replicas: u32,
}

type NodeFilter = fn(&Want<'_>, &Node) -> Result<(), Refusal>;
type RoomFilter = fn(&Want<'_>, &Offer<'_>) -> Result<(), Refusal>;

/// Whether the node is one the task belongs on, as its spec and description have it.
const FITNESS: [NodeFilter; 2] = [availability::check, constraint::check];

/// Whether it can take the task now. Cheap ones first.
const ROOM: [RoomFilter; 3] = [max_replicas::check, resources::check, host_port::check];

/// Everything but the room.
pub(super) fn fitness(want: &Want<'_>, node: &Node, state: NodeState) -> Result<(), Refusal> {
    ready::check(node, state)?;
    FITNESS.iter().try_for_each(|check| check(want, node))
}

/// Every filter; the first refusal counts.
pub(super) fn check(want: &Want<'_>, offer: &Offer<'_>) -> Result<(), Refusal> {
    fitness(want, offer.node, offer.state)?;
    ROOM.iter().try_for_each(|check| check(want, offer))
}
