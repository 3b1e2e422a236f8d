//! One command changes the state. Total and deterministic: nothing that a request, a report or a plan can carry makes
//! it panic, because a committed entry that panics kills every manager at every restart. It checks again what its
//! proposer checked and answers with a [`crate::rejection::Rejection`].

use std::collections::BTreeSet;

use muster_proto::id::{NodeId, ServiceId};

use crate::{
    command::{Entry, LogPosition, Outcome},
    state::State,
};

/// Where a change calls for another look. It says where, never what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services whose spec, tasks or rollout changed; also removed ones.
    pub services: BTreeSet<ServiceId>,
    /// Nodes whose assignments may have changed.
    pub nodes: BTreeSet<NodeId>,
    /// A node came, went, or changed what it offers: any waiting task may now fit.
    pub capacity: bool,
    /// Ports or backends of some service changed: every node's ingress may have.
    pub ingress: bool,
}

pub fn apply(_state: &mut State, _at: LogPosition, _entry: &Entry) -> (Outcome, Touched) {
    unreachable!("in the works")
}
