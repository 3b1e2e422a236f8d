//! What each node should know, derived from the state: its own tasks, and every service's ingress.

use muster_proto::{
    assignment::{Assignment, IngressService},
    id::{NodeId, TaskId},
};
use std::collections::BTreeMap;

use crate::state::State;

/// Every task that `node` must hold, run or clean up: all rows that have this node and whose removal it has not
/// confirmed.
#[must_use]
pub fn assignments(_state: &State, _node: NodeId) -> BTreeMap<TaskId, Assignment> {
    unreachable!("in the works")
}

/// Every service with ingress ports and its ready tasks, in order of service id.
#[must_use]
pub fn ingress(_state: &State) -> Vec<IngressService> {
    unreachable!("in the works")
}
