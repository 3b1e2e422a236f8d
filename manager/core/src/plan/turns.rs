//! How many slots of a service may be between two tasks at once: the update's parallelism, which rollouts, drains and
//! rebalances share.

use std::collections::BTreeSet;

use muster_proto::{
    node::Availability,
    service::{Mode, Service},
    task::Slot,
    task_state::TaskState,
};

use super::{
    pass::Pass,
    rollout, update,
    view::{SlotView, Slots},
};

/// What is left for slots that leave their node.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    left: usize,
    /// Hand-overs without a node whose turn the rollout, or another slot, has taken.
    given_away: BTreeSet<Slot>,
}

impl Turns {
    /// `begun`: the slots that the rollout replaces in this pass.
    pub(super) fn of(pass: &Pass<'_, '_>, service: &Service, slots: &Slots<'_>, begun: &BTreeSet<Slot>) -> Self {
        let Some(places) = places(service) else { return Self { left: usize::MAX, given_away: BTreeSet::new() } };
        let (mut taken, mut homeless) = (0, Vec::new());
        for view in slots.values() {
            match handover(pass, service, view) {
                _ if begun.contains(&view.slot) || update::is_under_way(pass, service, view) => taken += 1,
                Some(Handover::Begun) => taken += 1,
                Some(Handover::Homeless) => homeless.push(view.slot),
                None => taken += usize::from(view.is_unheard(pass)),
            }
        }
        let left = places.saturating_sub(taken);
        let given_away: BTreeSet<Slot> = homeless.iter().skip(left).copied().collect();
        Self { left: left.saturating_sub(homeless.len()), given_away }
    }

    /// The slot's successor found no node, and its turn is another's now: were it placed later, more would run than may.
    pub(super) fn gave_away(&self, slot: Slot) -> bool {
        self.given_away.contains(&slot)
    }

    pub(super) fn are_left(&self) -> bool {
        self.left > 0
    }

    pub(super) fn take(&mut self) -> bool {
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

/// None: as many as there are.
pub(super) fn places(service: &Service) -> Option<usize> {
    match rollout::config(service).parallelism {
        0 => None,
        places => Some(usize::try_from(places).unwrap_or(usize::MAX)),
    }
}

/// A slot that leaves its node, which is drained or has too much: a successor of its task there was begun, and none has
/// run yet. Whether that one is on its way, failed and is tried again, or whether the old task still serves, the slot is
/// between two tasks until one runs elsewhere: so a replacement that does not work stops the drain at its first slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handover {
    /// The successor has no node yet, and the old task serves for as long as that is so.
    Homeless,
    Begun,
}

pub(super) fn handover(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> Option<Handover> {
    match service.spec.mode {
        Mode::Global => return None,
        Mode::Replicated { .. } => {}
    }
    let left = view.rows.iter().rposition(|task| task.status.running_at.is_some())?;
    let newest = view.rows.iter().skip(left + 1).last()?;
    let left = view.rows.get(left)?;
    let availability = left.node_id.and_then(|node| pass.draft.node(node)).map(|node| node.spec.availability);
    let leaves = match availability {
        Some(Availability::Drain) => true,
        Some(Availability::Active | Availability::Pause) | None => pass.destination(left).is_some(),
    };
    if !leaves {
        return None;
    }
    let serves = left.is_active() && left.status.state == TaskState::Running;
    if serves && newest.is_active() && newest.node_id.is_none() {
        Some(Handover::Homeless)
    } else {
        Some(Handover::Begun)
    }
}
