//! Which slots a service should have. Slots too many are told to leave here; slots too few come back as empty views,
//! for the later stages to fill.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    id::NodeId,
    service::{Mode, Service},
    task::Slot,
    waiting::Refusal,
};

use super::{
    pass::Pass,
    schedule,
    view::{SlotView, serves, slots_of},
};

/// The slots to be filled.
pub(super) fn orchestrate<'a>(pass: &mut Pass<'a, '_>, service: &Service) -> BTreeMap<Slot, SlotView<'a>> {
    let slots = slots_of(pass.draft.state(), service.id);
    match service.spec.mode {
        Mode::Replicated { replicas } => replicated(pass, slots, replicas),
        Mode::Global => global(pass, service, slots),
    }
}

fn replicated<'a>(
    pass: &mut Pass<'a, '_>,
    mut slots: BTreeMap<Slot, SlotView<'a>>,
    replicas: u32,
) -> BTreeMap<Slot, SlotView<'a>> {
    let existing = slots.values().filter(|view| view.exists()).count();
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    if existing > wanted {
        for slot in surplus(pass, &slots, existing - wanted) {
            if let Some(view) = slots.remove(&slot) {
                discard(pass, &view);
            }
        }
    }
    // Slots that do not exist any more keep their rows until they are reaped; the lowest free numbers are used again.
    let mut missing = wanted.saturating_sub(existing);
    let mut number = 0;
    while missing > 0 && number < u32::MAX {
        // More than fit into one plan are not worth listing: the next plan begins where this one ends.
        if pass.more_slots_than_fit(wanted.saturating_sub(existing) - missing) {
            pass.more = true;
            break;
        }
        number += 1;
        let view = slots.entry(Slot::Number(number)).or_insert_with(|| SlotView::empty(Slot::Number(number)));
        if !view.exists() {
            missing -= 1;
        }
    }
    slots.retain(|slot, view| view.exists() || matches!(slot, Slot::Number(n) if *n <= number));
    slots
}

/// Those that do not serve first, then from the nodes with the most tasks of the service, then the highest.
fn surplus(pass: &Pass<'_, '_>, slots: &BTreeMap<Slot, SlotView<'_>>, count: usize) -> Vec<Slot> {
    let mut idle: Vec<Slot> = Vec::new();
    let mut by_node: BTreeMap<NodeId, BTreeSet<Slot>> = BTreeMap::new();
    for view in slots.values().filter(|view| view.exists()) {
        match view.current().find(|task| serves(pass, task)).and_then(|task| task.node_id) {
            Some(node) => {
                by_node.entry(node).or_default().insert(view.slot);
            }
            None => idle.push(view.slot),
        }
    }
    let mut chosen: Vec<Slot> = idle.into_iter().rev().take(count).collect();
    while chosen.len() < count {
        let fullest = by_node.values_mut().max_by_key(|slots| (slots.len(), slots.last().copied()));
        match fullest.and_then(BTreeSet::pop_last) {
            Some(slot) => chosen.push(slot),
            None => break,
        }
    }
    chosen
}

fn discard(pass: &mut Pass<'_, '_>, view: &SlotView<'_>) {
    for task in &view.rows {
        if pass.draft.is_full() {
            pass.more = true;
            return;
        }
        pass.draft.discard(task.id);
    }
}

/// One slot for each node that may run the service. A node that is merely down, paused or without its engine keeps
/// the slot it has, and gets none.
fn global<'a>(
    pass: &mut Pass<'a, '_>,
    service: &Service,
    mut slots: BTreeMap<Slot, SlotView<'a>>,
) -> BTreeMap<Slot, SlotView<'a>> {
    let mut wanted = BTreeSet::new();
    for node in pass.draft.nodes() {
        let slot = Slot::Node(node.id);
        let exists = slots.get(&slot).is_some_and(SlotView::exists);
        let stays = match schedule::eligible(pass.liveness, service, node) {
            Ok(()) => true,
            Err(refusal) => exists && !is_for_good(&refusal),
        };
        if stays {
            wanted.insert(slot);
        }
    }
    let (keep, leave): (BTreeMap<_, _>, BTreeMap<_, _>) =
        slots.into_iter().partition(|(slot, _)| wanted.contains(slot));
    slots = keep;
    for view in leave.values() {
        for task in view.current() {
            if pass.draft.is_full() {
                pass.more = true;
                break;
            }
            pass.draft.retire(task.id);
        }
    }
    for slot in wanted {
        slots.entry(slot).or_insert_with(|| SlotView::empty(slot));
    }
    slots
}

/// The node is not meant to run the service any more.
fn is_for_good(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::NodeDrained | Refusal::Constraint(_) => true,
        Refusal::NodeDown
        | Refusal::NodeUnknown
        | Refusal::NodePaused
        | Refusal::EngineUnavailable(_)
        | Refusal::Cpu { .. }
        | Refusal::Memory { .. }
        | Refusal::HostPort(_)
        | Refusal::MaxReplicas(_) => false,
    }
}
