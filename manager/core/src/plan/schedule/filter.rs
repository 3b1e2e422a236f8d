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

/// Whether the node is one the task belongs on, as its spec and description have it. What lasts longest comes first.
const FITNESS: [NodeFilter; 2] = [constraint::check, availability::check];

/// Whether it can take the task now. Cheap ones first.
const ROOM: [RoomFilter; 3] = [max_replicas::check, resources::check, host_port::check];

/// Everything but the room. A node that is not alive is not excused from a drain or a constraint by that.
pub(super) fn fitness(want: &Want<'_>, node: &Node, state: NodeState) -> Result<(), Refusal> {
    FITNESS.iter().try_for_each(|check| check(want, node))?;
    ready::check(node, state)
}

/// Every filter; the first refusal counts.
pub(super) fn check(want: &Want<'_>, offer: &Offer<'_>) -> Result<(), Refusal> {
    ready::check(offer.node, offer.state)?;
    FITNESS.iter().try_for_each(|check| check(want, offer.node))?;
    ROOM.iter().try_for_each(|check| check(want, offer))
}
