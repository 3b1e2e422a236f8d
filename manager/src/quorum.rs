//! Whether the managers that would be left could still decide, and what to tell whoever takes one out. Pure.
//!
//! Asked by the RPCs that demote or remove a manager, before they propose. Who is up has answered since the command
//! came; a manager that fails a moment later is the failure that a quorum is for.

use std::collections::BTreeMap;

use muster_proto::{convert::ManagerNow, id::NodeId};

/// The managers of the Raft group, as the leader sees them.
pub(crate) type Managers = BTreeMap<NodeId, ManagerNow>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuorumLost {
    #[error(
        "without node {node} no manager would have all of the cluster's state; wait until another has caught up (`muster node ls` shows it as reachable), then repeat the command"
    )]
    NobodyLeft { node: NodeId },
    #[error(
        "without node {node} only {up} of {left} managers would be up, and {needed} must be for anything to be changed; bring the others back up first, or promote a node that is up with `muster node promote`"
    )]
    TooFewUp { node: NodeId, up: usize, left: usize, needed: usize },
}

/// Whether the managers can do without this one.
pub(crate) fn without(managers: &Managers, leaving: NodeId) -> Result<(), QuorumLost> {
    if managers.get(&leaving).is_none_or(|manager| !manager.voter) {
        return Ok(());
    }
    let voters = || managers.iter().filter(|(node, manager)| manager.voter && **node != leaving);
    let (left, up) = (voters().count(), voters().filter(|(_, manager)| manager.reachable).count());
    let needed = left / 2 + 1;
    match left {
        0 => Err(QuorumLost::NobodyLeft { node: leaving }),
        _ if up < needed => Err(QuorumLost::TooFewUp { node: leaving, up, left, needed }),
        _ => Ok(()),
    }
}

/// What is to be said of this number of managers.
pub(crate) fn advice(managers: usize) -> Option<String> {
    let survives = |managers: usize| managers.saturating_sub(1) / 2;
    if managers == 0 || managers % 2 == 1 {
        return None;
    }
    Some(format!(
        "the cluster has {managers} managers, which survive the loss of {} like {} would; promote another node, or demote \
         one, for an odd number",
        survives(managers),
        managers - 1
    ))
}

#[cfg(test)]
mod tests {
    use muster_proto::version::RaftId;

    use super::*;

    const UP: (bool, bool) = (true, true);
    const DOWN: (bool, bool) = (true, false);
    const LEARNER: (bool, bool) = (false, true);

    fn node(number: usize) -> NodeId {
        NodeId::from_bits(number as u128)
    }

    fn managers(all: &[(bool, bool)]) -> Managers {
        let row = |(number, &(voter, reachable)): (usize, &(bool, bool))| {
            (node(number), ManagerNow { raft_id: RaftId(number as u64), voter, reachable, lag: 0 })
        };
        all.iter().enumerate().map(row).collect()
    }

    #[test]
    fn a_quorum_of_those_left_must_be_up() {
        let can_go = |all: &[(bool, bool)]| without(&managers(all), node(0)).is_ok();
        assert!(can_go(&[UP, UP]) && can_go(&[UP, UP, UP]));
        assert!(!can_go(&[UP]) && !can_go(&[UP, LEARNER]), "nobody would be left");
        assert!(!can_go(&[UP, DOWN]) && !can_go(&[UP, UP, DOWN]));
        assert!(can_go(&[DOWN, UP, UP]), "who is down may go");
        assert!(can_go(&[UP, UP, UP, DOWN]) && !can_go(&[UP, UP, DOWN, DOWN]));
        assert!(can_go(&[LEARNER, DOWN, UP]), "a learner decides nothing");
        assert!(without(&managers(&[UP, DOWN]), node(9)).is_ok(), "a worker decides nothing");
    }

    #[test]
    fn an_even_number_is_pointed_out() {
        assert_eq!(advice(1), None);
        assert_eq!(advice(3), None);
        assert!(advice(2).is_some_and(|said| said.contains("the loss of 0 like 1 would")));
        assert!(advice(4).is_some_and(|said| said.contains("the loss of 1 like 3 would")));
    }
}
