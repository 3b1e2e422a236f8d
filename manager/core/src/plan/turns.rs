//! How many slots of a service may be between two tasks at once: the update's parallelism, which rollouts, drains and
//! rebalances share.

use std::collections::BTreeSet;

use muster_proto::{
    node::Availability,
    service::{Mode, Service},
    task::{Slot, Task},
    task_state::{DesiredState, TaskState},
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
    /// Slots that are between two tasks, or rest after the rollout: whatever they need next is in the turn that they have.
    held: BTreeSet<Slot>,
    /// Hand-overs without a node whose turn the rollout, or another slot, has taken.
    given_away: BTreeSet<Slot>,
}

impl Turns {
    /// `begun`: the slots that the rollout replaces in this pass.
    pub(super) fn of(pass: &Pass<'_, '_>, service: &Service, slots: &Slots<'_>, begun: &BTreeSet<Slot>) -> Self {
        let mut turns = Self { left: usize::MAX, held: BTreeSet::new(), given_away: BTreeSet::new() };
        let Some(places) = places(service) else { return turns };
        let (mut taken, mut homeless, mut under_way) = (0, Vec::new(), Vec::new());
        for view in slots.values() {
            let handover = handover(pass, service, view);
            let is_begun = handover == Some(Handover::Begun);
            if is_begun {
                turns.held.insert(view.slot);
            }
            if begun.contains(&view.slot) || update::is_under_way(pass, service, view) {
                taken += 1;
                let rests = rollout::running_since(rollout::progress(pass, service, view)).is_some();
                under_way.extend(Some((rests, view.slot)).filter(|_| !is_begun));
                continue;
            }
            match handover {
                Some(Handover::Begun) => taken += 1,
                Some(Handover::Homeless) => homeless.push(view.slot),
                None => taken += usize::from(view.is_unheard(pass)),
            }
        }
        // After the loss of a node, or with a longer delay, there may be more than places. One that rests can wait.
        under_way.sort_unstable();
        let own = places.saturating_sub(turns.held.len());
        turns.held.extend(under_way.into_iter().map(|(_, slot)| slot).take(own));
        let left = places.saturating_sub(taken);
        turns.given_away = homeless.iter().skip(left).copied().collect();
        // The place that is set aside for its task without a node serves another of the slot as well.
        turns.held.extend(homeless.iter().take(left));
        turns.left = left.saturating_sub(homeless.len());
        turns
    }

    /// The slot's successor found no node, and its turn is another's now: were it placed later, more would run than may.
    pub(super) fn gave_away(&self, slot: Slot) -> bool {
        self.given_away.contains(&slot)
    }

    pub(super) fn has_one_for(&self, slot: Slot) -> bool {
        self.left > 0 || self.held.contains(&slot)
    }

    pub(super) fn take(&mut self, slot: Slot) {
        if self.held.insert(slot) {
            self.left = self.left.saturating_sub(1);
        }
    }
}

/// None: as many as there are.
pub(super) fn places(service: &Service) -> Option<usize> {
    match rollout::config(service).parallelism {
        0 => None,
        places => Some(usize::try_from(places).unwrap_or(usize::MAX)),
    }
}

/// A slot that leaves its node, which is drained or has too much: a successor of its task there is wanted, and none has
/// run yet. One that was called off is history, and no successor. Whether the one that is wanted is on its way, failed and
/// is tried again, or whether the old task still serves, the slot is between two tasks until one runs elsewhere: so a
/// replacement that does not work stops the drain at its first slots.
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
    let serves = |task: &&Task| task.is_active() && task.status.state == TaskState::Running;
    let serving = view.rows.iter().rposition(serves);
    // What is to leave nothing behind belongs to a slot that was not wanted for a while, or to no turn any more.
    let ran = |task: &&Task| task.status.running_at.is_some() && task.desired != DesiredState::Remove;
    let left = serving.or_else(|| view.rows.iter().rposition(ran))?;
    let newest = view.rows.iter().skip(left + 1).rfind(|task| task.desired <= DesiredState::Running)?;
    let left = view.rows.get(left)?;
    // One that ended by itself is replaced, wherever it was, and hands nothing over.
    if left.status.state.is_final() && left.status.state != TaskState::Shutdown {
        return None;
    }
    let availability = left.node_id.and_then(|node| pass.draft.node(node)).map(|node| node.spec.availability);
    let leaves = match availability {
        // Down, it has lost its tasks like any other: nothing is handed over.
        Some(Availability::Drain) => !pass.is_down(left.node_id),
        Some(Availability::Active | Availability::Pause) | None => pass.destination(left).is_some(),
    };
    // It was told to go for this successor. What its node is since then changes nothing for the slot.
    let has_left = serving.is_none()
        && left.desired == DesiredState::Shutdown
        && left.template_version == newest.template_version
        && !pass.is_down(left.node_id);
    if !leaves && !has_left {
        return None;
    }
    if serving.is_some() && newest.is_active() && newest.node_id.is_none() {
        Some(Handover::Homeless)
    } else {
        Some(Handover::Begun)
    }
}
