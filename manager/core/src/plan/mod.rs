//! What should happen next: one pure pass over the state.
//!
//! orchestrate (services to wanted tasks, by slot) → restart → update (which slots may be replaced now) → schedule
//! (placement) → reap. The pass yields one bounded list of actions that is proposed as one log entry.
//!
//! Level-triggered: `dirty` says where to look, never what to do. A plan from what is dirty and one from everything
//! are equal; a property test says so.

pub mod allocate;
pub mod draft;
pub mod schedule;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    id::{ServiceId, TaskId},
    time::Timestamp,
};

use crate::{action::Action, liveness::Liveness, state::State};

/// Bounds the size of one log entry; what is left over comes with the next plan.
pub const ACTIONS_MAX: usize = 2_000;

/// New ids. The leader draws them at random, a simulation from its seed.
pub trait IdSource {
    fn task_id(&mut self) -> TaskId;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dirty {
    Everything,
    Services(BTreeSet<ServiceId>),
}

#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub state: &'a State,
    pub liveness: &'a Liveness,
    pub now: Timestamp,
    pub dirty: &'a Dirty,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// When to look at a service again though nothing changes: a delay, a monitor window or a deadline ends then.
    pub wake: BTreeMap<ServiceId, Timestamp>,
    /// [`ACTIONS_MAX`] cut the list: plan again once this is applied.
    pub more: bool,
}

pub fn plan(_input: Input<'_>, _ids: &mut dyn IdSource) -> Plan {
    unreachable!("in the works")
}
