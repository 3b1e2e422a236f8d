//! Why a slot gets no node, from the refusals of the very filters that turned the nodes down.

use std::collections::BTreeMap;

use muster_proto::{
    id::NodeId,
    task::{Slot, Template},
    waiting::{Refusal, WaitingOn},
};

use super::{
    Focus,
    filter::{self, Want},
    footprint::Footprint,
    offer,
    seats::{Seat, Seats},
};

/// A reason is kept with each task that waits for it; engines may each be away for a reason of their own.
const REFUSALS_MAX: usize = 8;

/// The one node of a global service's slot, or what it lacks.
pub(super) fn one_seat(
    seats: &Seats<'_>,
    focus: &Focus,
    template: &Template,
    slot: Slot,
    node: NodeId,
) -> Result<NodeId, WaitingOn> {
    let Some(index) = seats.index_of(node) else {
        return Err(WaitingOn::NoNodes);
    };
    match filter::check(&Want { template }, &offer(seats.at(index), focus.in_use.on(index))) {
        Ok(()) => Ok(node),
        Err(_) if waits_for_predecessor(seats, focus, template, slot) => Err(WaitingOn::Predecessor),
        Err(refusal) => Err(WaitingOn::NoSuitableNode { nodes: 1, refusals: vec![(1, refusal)] }),
    }
}

/// Why none of the nodes will do. `at` is the place of the template's ranking.
pub(super) fn every_seat(
    seats: &Seats<'_>,
    focus: &mut Focus,
    template: &Template,
    slot: Slot,
    at: usize,
) -> WaitingOn {
    if seats.iter().all(|seat| seat.node.description.is_none()) {
        return WaitingOn::NoNodes;
    }
    if waits_for_predecessor(seats, focus, template, slot) {
        return WaitingOn::Predecessor;
    }
    if let Some((changes, waiting)) = &focus.rankings[at].explained
        && *changes == seats.change_count()
    {
        return waiting.clone();
    }
    let want = Want { template };
    let offers = seats.iter().enumerate().map(|(index, seat)| offer(seat, focus.in_use.on(index)));
    let refusals = offers.filter_map(|offer| filter::check(&want, &offer).err());
    let waiting =
        WaitingOn::NoSuitableNode { nodes: u32::try_from(seats.len()).unwrap_or(u32::MAX), refusals: tally(refusals) };
    focus.rankings[at].explained = Some((seats.change_count(), waiting.clone()));
    waiting
}

/// A task of this slot is on its way out, and with it gone its node would do.
fn waits_for_predecessor(seats: &Seats<'_>, focus: &Focus, template: &Template, slot: Slot) -> bool {
    focus.in_use.leaving(slot).any(|leaving| would_do(seats, focus, template, leaving))
}

/// The node of `gone` would do once that task, and whoever else of its slot is leaving there, have ended.
pub(super) fn would_do(seats: &Seats<'_>, focus: &Focus, template: &Template, gone: &Footprint) -> bool {
    let Some(index) = seats.index_of(gone.node) else { return false };
    let mut in_use = seats.at(index).in_use.clone();
    for leaving in focus.in_use.leaving(gone.slot).filter(|leaving| leaving.node == gone.node) {
        in_use.give_back(leaving);
    }
    if gone.active {
        in_use.give_back(gone);
    }
    let seat = Seat { in_use, ..*seats.at(index) };
    filter::check(&Want { template }, &offer(&seat, focus.in_use.on(index))).is_ok()
}

/// Most first; refusals of equal count in the order of [`Refusal`].
fn tally(refusals: impl Iterator<Item = Refusal>) -> Vec<(u32, Refusal)> {
    let mut counts: BTreeMap<Refusal, (u32, u64)> = BTreeMap::new();
    for refusal in refusals {
        let (cause, free) = without_free(refusal);
        let (count, free_max) = counts.entry(cause).or_default();
        *count += 1;
        *free_max = free.max(*free_max);
    }
    let mut tallied: Vec<(u32, Refusal)> =
        counts.into_iter().map(|(cause, (count, free_max))| (count, with_free(cause, free_max))).collect();
    tallied.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    tallied.truncate(REFUSALS_MAX);
    tallied
}

/// What was free differs from node to node and makes no other cause.
fn without_free(refusal: Refusal) -> (Refusal, u64) {
    match refusal {
        Refusal::Cpu { asked, free_max } => (Refusal::Cpu { asked, free_max: 0 }, free_max),
        Refusal::Memory { asked, free_max } => (Refusal::Memory { asked, free_max: 0 }, free_max),
        Refusal::NodeDown
        | Refusal::NodeUnknown
        | Refusal::NodePaused
        | Refusal::NodeDrained
        | Refusal::EngineUnavailable(_)
        | Refusal::Constraint(_)
        | Refusal::HostPort(_)
        | Refusal::MaxReplicas(_) => (refusal, 0),
    }
}

fn with_free(cause: Refusal, free_max: u64) -> Refusal {
    match cause {
        Refusal::Cpu { asked, free_max: _ } => Refusal::Cpu { asked, free_max },
        Refusal::Memory { asked, free_max: _ } => Refusal::Memory { asked, free_max },
        Refusal::NodeDown
        | Refusal::NodeUnknown
        | Refusal::NodePaused
        | Refusal::NodeDrained
        | Refusal::EngineUnavailable(_)
        | Refusal::Constraint(_)
        | Refusal::HostPort(_)
        | Refusal::MaxReplicas(_) => cause,
    }
}
