//! What should happen next: one pure pass over the state.
//!
//! Per service: orchestrate (which slots there should be) → moves (which tasks that were to move cannot) → update
//! (how far the rollout is, which slots are replaced now) → slot (who fills each slot: restart, replace, hand over,
//! release) → reap. Then schedule, for the waiting
//! tasks of all services. The pass yields one bounded list of actions that is proposed as one log entry.
//!
//! Invariants: a plan comes to rest: planned again right after it was applied, nothing follows until time passes or
//! something is reported; but where it says that it wants to be planned again ([`Plan::more`]). Stages read the rows as
//! they were before the plan, so that one slot's step can make another's possible: where that is so, the plan says it.
//! Level-triggered: `dirty` says where to look, never what to do; a plan from what is dirty and one from everything are
//! equal. Each has a property test.

pub mod allocate;
mod canary;
pub mod concern;
pub mod draft;
mod goal;
mod moves;
mod orchestrate;
pub mod outage;
mod pass;
mod placement;
mod predecessor;
mod reap;
pub mod rebalance;
mod restart;
mod rollout;
mod room;
pub mod schedule;
mod slot;
pub mod stranded;
mod turns;
mod update;
mod view;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    id::{ServiceId, TaskId},
    time::Timestamp,
};

use self::{pass::Pass, turns::Turns};
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
    /// Plan the same again once this is applied: [`ACTIONS_MAX`] cut the list, or it may itself have made more possible. An
    /// outage that it may have ended, a successor that found no node and whose turn is another's now, a hand-over that a
    /// rollout called off, a slot in which nothing serves any more.
    pub more: bool,
}

pub fn plan(input: Input<'_>, ids: &mut dyn IdSource) -> Plan {
    let mut pass = Pass::new(input, ids);
    let services: BTreeSet<ServiceId> = match input.dirty {
        Dirty::Everything => input.state.service_ids().collect(),
        Dirty::Services(services) => services.clone(),
    };
    for id in services {
        if pass.draft.is_full() {
            pass.more = true;
            break;
        }
        plan_service(&mut pass, id);
    }
    placement::place_waiting(&mut pass);
    // What was replaced in this plan can end what held back the rest of it: an outage, or a slot that nothing is known of.
    pass.more |= (!pass.outage.is_none() || pass.is_guessing) && !pass.draft.is_empty();
    pass.more |= pass.has_homeless();
    pass.into_plan()
}

fn plan_service(pass: &mut Pass<'_, '_>, id: ServiceId) {
    if reap::orphan_of_lost_nodes(pass, id) > 0 {
        pass.more = true;
        return;
    }
    if let Some(service) = pass.draft.service(id).cloned() {
        moves::review(pass, &service);
        let (service, wanted) = update::advance(pass, service);
        orchestrate::dismiss(pass, &wanted);
        let begun = update::next_slots(pass, &service, &wanted.slots);
        for view in wanted.slots.values() {
            pass.wake_after_outage(&service, view);
            pass.is_guessing |= view.is_unheard(pass);
        }
        let mut turns = Turns::of(pass, &service, &wanted.slots, &begun);
        for view in wanted.slots.values() {
            if pass.draft.is_full() {
                pass.more = true;
                return;
            }
            if begun.contains(&view.slot) {
                slot::begin_replacement(pass, &service, view);
            } else {
                slot::fill(pass, &service, view, &mut turns);
            }
        }
    }
    reap::reap(pass, id);
}
