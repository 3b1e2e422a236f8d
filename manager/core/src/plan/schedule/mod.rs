//! Which node a task goes to, or why none will do. Pure: the plan asks, and turns the answer into an action.

use muster_proto::{
    id::NodeId,
    node::{Availability, Node, NodeState},
    service::Service,
    task::{Slot, Template},
    waiting::{Refusal, WaitingOn},
};

use super::draft::Draft;
use crate::liveness::Liveness;

/// The node for a new task of `service`, which is made of `template`; in a global service the slot names it.
pub fn place(
    draft: &Draft<'_>,
    liveness: &Liveness,
    service: &Service,
    _template: &Template,
    slot: Slot,
) -> Result<NodeId, WaitingOn> {
    let mut refusals: Vec<(u32, Refusal)> = Vec::new();
    let mut best: Option<(usize, NodeId)> = None;
    let mut nodes = 0;
    for node in draft.nodes().filter(|node| slot_allows(slot, node.id)) {
        nodes += 1;
        match eligible(draft, liveness, service, node) {
            Ok(()) => {
                let load = draft.tasks_of_node(node.id).filter(|task| task.holds_resources()).count();
                best = best.min(Some((load, node.id))).or(Some((load, node.id)));
            }
            Err(refusal) => match refusals.iter_mut().find(|(_, known)| *known == refusal) {
                Some((count, _)) => *count += 1,
                None => refusals.push((1, refusal)),
            },
        }
    }
    match best {
        Some((_, node)) => Ok(node),
        None if nodes == 0 => Err(WaitingOn::NoNodes),
        None => Err(WaitingOn::NoSuitableNode { nodes, refusals }),
    }
}

/// Whether the node may run this service at all, whatever it has free: what gives a global service its slots.
pub fn eligible(draft: &Draft<'_>, liveness: &Liveness, _service: &Service, node: &Node) -> Result<(), Refusal> {
    if draft.node(node.id).is_none() {
        return Err(Refusal::NodeDown);
    }
    match node.spec.availability {
        Availability::Pause => return Err(Refusal::NodePaused),
        Availability::Drain => return Err(Refusal::NodeDrained),
        Availability::Active => {}
    }
    match liveness.of(node.id) {
        NodeState::Ready => Ok(()),
        NodeState::Unknown | NodeState::Down => Err(Refusal::NodeDown),
    }
}

fn slot_allows(slot: Slot, node: NodeId) -> bool {
    match slot {
        Slot::Number(_) => true,
        Slot::Node(own) => own == node,
    }
}
