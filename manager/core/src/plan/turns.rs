//! How many slots of a service may be between two tasks at once: the update's parallelism, which rollouts, drains and
//! rebalances share.

use std::collections::BTreeSet;

use muster_proto::{node::Availability, service::Service, task::Slot, task_state::TaskState};

use super::{
    pass::Pass,
    rollout, update,
    view::{Footing, SlotView, Slots, footing},
};

/// What is left for slots that leave their node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turns {
    left: usize,
}

impl Turns {
    /// `begun`: the slots that the rollout replaces in this pass.
    pub(super) fn of(pass: &Pass<'_, '_>, service: &Service, slots: &Slots<'_>, begun: &BTreeSet<Slot>) -> Self {
        let Some(places) = places(service) else { return Self { left: usize::MAX } };
        let taken = slots.values().filter(|view| {
            begun.contains(&view.slot)
                || handover(pass, service, view).is_some()
                || update::is_under_way(pass, service, view)
        });
        Self { left: places.saturating_sub(taken.count()) }
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

/// A slot that leaves its node, which is drained or has too much: its successor there is on the way, whether the old task still serves or, where two
/// may not run at once, has made way for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handover {
    /// The successor has no node yet, and the old task serves for as long as that is so.
    Homeless,
    Placed,
}

pub(super) fn handover(pass: &Pass<'_, '_>, service: &Service, view: &SlotView<'_>) -> Option<Handover> {
    let successor = view.current().filter(|task| footing(pass, service, task) == Footing::Sound).last()?;
    let before = view.rows.iter().take_while(|task| task.id != successor.id).last()?;
    let availability = before.node_id.and_then(|node| pass.draft.node(node)).map(|node| node.spec.availability);
    let leaves = match availability {
        Some(Availability::Drain) => true,
        Some(Availability::Active | Availability::Pause) | None => pass.destination(before).is_some(),
    };
    match (leaves, successor.node_id, successor.status.state) {
        (false, ..) | (true, _, TaskState::Running) => None,
        (true, None, _) => Some(Handover::Homeless),
        (true, Some(_), _) => Some(Handover::Placed),
    }
}
