//! The node is alive, has described itself, and its engine takes work.

use muster_proto::{
    node::{EngineHealth, Node, NodeState},
    waiting::Refusal,
};

pub(super) fn check(node: &Node, state: NodeState) -> Result<(), Refusal> {
    match state {
        NodeState::Down => return Err(Refusal::NodeDown),
        NodeState::Unknown => return Err(Refusal::NodeUnknown),
        NodeState::Ready => {}
    }
    match node.description.as_ref().map(|description| &description.engine_health) {
        None => Err(Refusal::NodeUnknown),
        Some(EngineHealth::Unavailable(why)) => Err(Refusal::EngineUnavailable(why.clone())),
        Some(EngineHealth::Ok) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::schedule::fixture;

    fn checked(state: NodeState, change: impl FnOnce(&mut Node)) -> Result<(), Refusal> {
        let mut node = fixture::node(1);
        change(&mut node);
        check(&node, state)
    }

    #[test]
    fn only_a_ready_node_with_a_working_engine_passes() {
        assert_eq!(checked(NodeState::Ready, |_| ()), Ok(()));
        assert_eq!(checked(NodeState::Down, |_| ()), Err(Refusal::NodeDown));
        assert_eq!(checked(NodeState::Unknown, |_| ()), Err(Refusal::NodeUnknown));
        assert_eq!(checked(NodeState::Ready, |node| node.description = None), Err(Refusal::NodeUnknown));
    }

    #[test]
    fn an_engine_that_is_away_says_why() {
        let refused = checked(NodeState::Ready, |node| {
            let description = node.description.as_mut().expect("the fixture describes its nodes");
            description.engine_health = EngineHealth::Unavailable("no socket".into());
        });
        assert_eq!(refused, Err(Refusal::EngineUnavailable("no socket".into())));
    }
}
