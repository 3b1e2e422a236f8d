//! Which slots a service should have, and which it has too many. Slots too few come back as empty views, for the later
//! stages to fill.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    id::NodeId,
    service::{Mode, Service},
    task::Slot,
    waiting::Refusal,
};

use super::{
    ACTIONS_MAX,
    pass::Pass,
    reap, schedule,
    view::{SlotView, Slots, serves, slots_of},
};

/// A service's slots, sorted by what its spec makes of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// To be filled.
    pub(super) slots: Slots<'a>,
    /// Not wanted any more: the slot goes, and its history with it.
    gone: Vec<SlotView<'a>>,
    /// Not wanted now: the node may take the service again.
    left: Vec<SlotView<'a>>,
    /// Slots beyond what one plan can fill were left out.
    is_cut: bool,
}

pub(super) fn orchestrate<'a>(pass: &Pass<'a, '_>, service: &Service) -> Wanted<'a> {
    let slots = slots_of(pass.draft.state(), service.id);
    match service.spec.mode {
        Mode::Replicated { replicas } => replicated(pass, slots, replicas),
        Mode::Global => global(pass, service, slots),
    }
}

/// Tells the tasks of slots that are not wanted to leave.
pub(super) fn dismiss(pass: &mut Pass<'_, '_>, wanted: &Wanted<'_>) {
    pass.more |= wanted.is_cut;
    let gone = wanted.gone.iter().flat_map(|view| &view.rows).map(|task| (task, true));
    let left = wanted.left.iter().flat_map(|view| &view.rows).map(|task| (task, false));
    for (task, is_gone) in gone.chain(left) {
        if pass.draft.is_full() {
            pass.more = true;
            return;
        }
        if is_gone { reap::discard(pass, task) } else { pass.draft.retire(task.id) }
    }
}

fn replicated<'a>(pass: &Pass<'a, '_>, mut slots: Slots<'a>, replicas: u32) -> Wanted<'a> {
    let existing = slots.values().filter(|view| view.exists()).count();
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    let too_many = surplus(pass, &slots, existing.saturating_sub(wanted));
    let gone = too_many.iter().filter_map(|slot| slots.remove(slot)).collect();
    // The lowest free numbers are used again; rows that such a slot still has are shown with it.
    let (mut slots, mut former): (Slots<'a>, Slots<'a>) = slots.into_iter().partition(|(_, view)| view.exists());
    // More than fit into one plan are not worth listing: the next plan begins where this one ends.
    let missing = wanted.saturating_sub(existing);
    let is_cut = missing > ACTIONS_MAX;
    let free = (1..=u32::MAX).map(Slot::Number).filter(|slot| !slots.contains_key(slot));
    let fresh: Vec<Slot> = free.take(missing.min(ACTIONS_MAX)).collect();
    for slot in fresh {
        slots.insert(slot, former.remove(&slot).unwrap_or_else(|| SlotView::empty(slot)));
    }
    Wanted { slots, gone, left: Vec::new(), is_cut }
}

/// Those that do not serve first, then from the nodes with the most tasks of the service, then the highest.
fn surplus(pass: &Pass<'_, '_>, slots: &Slots<'_>, count: usize) -> Vec<Slot> {
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

/// One slot for each node that may run the service. A node that is merely down, paused or without its engine keeps
/// the slot it has, and gets none.
fn global<'a>(pass: &Pass<'a, '_>, service: &Service, slots: Slots<'a>) -> Wanted<'a> {
    let mut wanted = Wanted::default();
    let mut rest = slots;
    for node in pass.draft.nodes() {
        let slot = Slot::Node(node.id);
        let view = rest.remove(&slot).unwrap_or_else(|| SlotView::empty(slot));
        let stays = match schedule::eligible(pass.liveness, service, node) {
            Ok(()) => true,
            Err(refusal) => view.exists() && !is_for_good(&refusal),
        };
        if stays {
            wanted.slots.insert(slot, view);
        } else {
            wanted.left.push(view);
        }
    }
    // Their nodes were removed: who comes back does so as another.
    wanted.gone.extend(rest.into_values());
    wanted
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
