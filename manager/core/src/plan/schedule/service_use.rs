//! Where the tasks of one service are: how many on which node, in which slot, which are on their way out, and where
//! they failed of late.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use muster_proto::{
    id::TaskId,
    task::{Slot, Task, Template},
    task_state::TaskState,
    time::Timestamp,
};

use super::{
    footprint::Footprint,
    seats::{SeatIndex, Seats},
};

/// So many failures of one template on one node within [`FAILURES_WINDOW`], and other nodes are tried first. Both are
/// Swarm's. The default history keeps as many rows for each slot.
pub(super) const FAILURES_MANY: u32 = 5;
pub(super) const FAILURES_WINDOW: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct ServiceUse {
    active: BTreeMap<SeatIndex, u32>,
    /// Each slot's active tasks and their seats: two in the middle of a start-first replacement.
    slots: BTreeMap<Slot, Vec<(SeatIndex, Arc<Template>)>>,
    leaving: BTreeMap<Slot, BTreeMap<TaskId, Footprint>>,
    failures: Vec<(SeatIndex, Arc<Template>)>,
    /// Not counted for as long as their slot is being placed.
    aside: Vec<SeatIndex>,
    /// Whose host ports are not counted meanwhile.
    ports_aside: Vec<(SeatIndex, Arc<Template>)>,
}

impl ServiceUse {
    pub(super) fn take(&mut self, id: TaskId, footprint: &Footprint, seats: &Seats<'_>) {
        let Some(seat) = seats.index_of(footprint.node) else { return };
        if footprint.active {
            *self.active.entry(seat).or_default() += 1;
            self.slots.entry(footprint.slot).or_default().push((seat, Arc::clone(&footprint.template)));
        } else {
            self.leaving.entry(footprint.slot).or_default().insert(id, footprint.clone());
        }
    }

    pub(super) fn give_back(&mut self, id: TaskId, footprint: &Footprint, seats: &Seats<'_>) {
        let Some(seat) = seats.index_of(footprint.node) else { return };
        if footprint.active {
            self.uncount(seat);
            if let Some(slot) = self.slots.get_mut(&footprint.slot)
                && let Some(at) =
                    slot.iter().position(|(held, template)| *held == seat && *template == footprint.template)
            {
                slot.swap_remove(at);
            }
        } else if let Some(leaving) = self.leaving.get_mut(&footprint.slot) {
            leaving.remove(&id);
        }
    }

    /// Rows that failed before the pass; a plan makes no new ones. `slot`: all rows of the task's slot.
    pub(super) fn remember_failure<'a>(
        &mut self,
        task: &Task,
        slot: impl Iterator<Item = &'a Task>,
        now: Timestamp,
        seats: &Seats<'_>,
    ) {
        if failed_there(task.status.state)
            && now.since(task.status.at) < FAILURES_WINDOW
            && let Some(seat) = task.node_id.and_then(|node| seats.index_of(node))
        {
            let later = slot.filter(|later| later.created_at > task.created_at);
            let next = later.min_by_key(|later| later.created_at);
            if !next.is_some_and(|next| followed_before_its_end(task, next)) {
                self.failures.push((seat, Arc::clone(&task.template)));
            }
        }
    }

    /// How often this very template failed on each seat of late.
    pub(super) fn failures_of(&self, template: &Template) -> BTreeMap<SeatIndex, u32> {
        let mut counts = BTreeMap::new();
        for (seat, _) in self.failures.iter().filter(|(_, failed)| **failed == *template) {
            *counts.entry(*seat).or_default() += 1;
        }
        counts
    }

    pub(super) fn on(&self, seat: SeatIndex) -> u32 {
        self.active.get(&seat).copied().unwrap_or(0)
    }

    pub(super) fn leaving(&self, slot: Slot) -> impl Iterator<Item = &Footprint> {
        self.leaving.get(&slot).into_iter().flat_map(BTreeMap::values)
    }

    /// Counts the slot's own tasks out until [`ServiceUse::take_back`].
    pub(super) fn set_aside(&mut self, slot: Slot, seats: &mut Seats<'_>) {
        debug_assert!(self.aside.is_empty(), "one slot is placed at a time");
        self.aside = self.slots.get(&slot).into_iter().flatten().map(|(seat, _)| *seat).collect();
        for at in 0..self.aside.len() {
            self.uncount(self.aside[at]);
            seats.count_out(self.aside[at]);
        }
    }

    /// Counts the host ports of the slot's own tasks out as well: who is prepared now and starts once they have ended binds
    /// them then.
    pub(super) fn set_ports_aside(&mut self, slot: Slot, seats: &mut Seats<'_>) {
        let active = self.slots.get(&slot).into_iter().flatten().cloned();
        let leaving = self.leaving.get(&slot).into_iter().flat_map(BTreeMap::values);
        let leaving = leaving.filter_map(|held| Some((seats.index_of(held.node)?, Arc::clone(&held.template))));
        self.ports_aside = active.chain(leaving).filter(|(_, template)| !template.host_ports.is_empty()).collect();
        for (seat, template) in &self.ports_aside {
            seats.free_ports(*seat, template);
        }
    }

    pub(super) fn take_back(&mut self, seats: &mut Seats<'_>) {
        for (seat, template) in std::mem::take(&mut self.ports_aside) {
            seats.bind_ports(seat, &template);
        }
        for seat in std::mem::take(&mut self.aside) {
            *self.active.entry(seat).or_default() += 1;
            seats.count_in(seat);
        }
    }

    fn uncount(&mut self, seat: SeatIndex) {
        if let Some(count) = self.active.get_mut(&seat) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Its slot had another task before this one was known to have failed: it was lost with its node. What a host lost with
/// its power says nothing of the host once that is back.
fn followed_before_its_end(task: &Task, next: &Task) -> bool {
    next.template_version == task.template_version && next.restarts.attempts <= task.restarts.attempts
}

/// The node had its part in it, or may have had. A lost node is not tried anyway.
fn failed_there(state: TaskState) -> bool {
    match state {
        TaskState::Failed | TaskState::Rejected => true,
        TaskState::New
        | TaskState::Pending
        | TaskState::Assigned
        | TaskState::Accepted
        | TaskState::Preparing
        | TaskState::Ready
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Complete
        | TaskState::Shutdown
        | TaskState::Orphaned => false,
    }
}
