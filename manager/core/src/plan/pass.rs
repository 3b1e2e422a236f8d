//! What the stages of one pass share: what they read, the draft they write, and when to look again.

use std::{collections::BTreeMap, fmt};

use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    node::NodeState,
    restart::RestartRecord,
    service::Service,
    task::{Slot, Task},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    version::TemplateVersion,
    waiting::WaitingOn,
};

use super::{IdSource, Input, Plan, draft::Draft, outage::Outage, view::SlotView};
use crate::{effect::NewTask, liveness::Liveness};

pub(super) struct Pass<'a, 'i> {
    pub(super) draft: Draft<'a>,
    pub(super) liveness: &'a Liveness,
    pub(super) now: Timestamp,
    pub(super) more: bool,
    pub(super) outage: Outage,
    /// A slot of this pass has a task on a node that this leader has not heard of yet.
    pub(super) is_guessing: bool,
    /// Tasks of this plan that wait for something other than a predecessor on a node that is up.
    pub(super) held: BTreeMap<TaskId, WaitingOn>,
    /// Successors that this plan makes for tasks which leave their node, each in a turn of its slot.
    pub(super) leaving: Vec<TaskId>,
    wake: BTreeMap<ServiceId, Timestamp>,
    ids: &'i mut dyn IdSource,
}

impl fmt::Debug for Pass<'_, '_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pass").field("draft", &self.draft).field("now", &self.now).finish_non_exhaustive()
    }
}

impl<'a, 'i> Pass<'a, 'i> {
    pub(super) fn new(input: Input<'a>, ids: &'i mut dyn IdSource) -> Self {
        Self {
            draft: Draft::new(input.state, input.now),
            liveness: input.liveness,
            now: input.now,
            more: false,
            outage: Outage::of(input.state, input.liveness, input.now),
            is_guessing: false,
            held: BTreeMap::new(),
            leaving: Vec::new(),
            wake: BTreeMap::new(),
            ids,
        }
    }

    pub(super) fn into_plan(self) -> Plan {
        Plan { actions: self.draft.into_actions(), wake: self.wake, more: self.more }
    }

    /// One that leaves found no node: the turn that it was begun in may be another slot's.
    pub(super) fn has_homeless(&self) -> bool {
        self.leaving.iter().any(|id| self.draft.task(*id).is_none_or(|task| task.node_id.is_none()))
    }

    /// Look at the service again then. A time that has come is no reason: this pass has looked.
    pub(super) fn wake_at(&mut self, service: ServiceId, at: Timestamp) {
        if at > self.now {
            self.wake.entry(service).and_modify(|earlier| *earlier = at.min(*earlier)).or_insert(at);
        }
    }

    /// Once it is known whether more nodes follow, everything about a slot with a task on one of them may change.
    pub(super) fn wake_after_outage(&mut self, service: &Service, view: &SlotView<'_>) {
        let held = view.current().filter_map(|task| self.outage.waiting(task.node_id?)).next();
        if let Some(WaitingOn::Outage { until: Some(until) }) = held {
            self.wake_at(service.id, until);
        }
    }

    pub(super) fn is_down(&self, node: Option<NodeId>) -> bool {
        node.is_some_and(|node| self.liveness.of(node) == NodeState::Down)
    }

    /// Where a task that serves is to move, as far as this pass has not given that up.
    pub(super) fn destination(&self, task: &Task) -> Option<NodeId> {
        let to = task.moves_to.filter(|_| task.is_active() && task.status.state == TaskState::Running)?;
        self.draft.task(task.id).and_then(|row| row.moves_to).filter(|kept| *kept == to)
    }

    pub(super) fn create(&mut self, service: &Service, slot: Slot, start: Start) -> TaskId {
        let (desired, start_after) = match start.when {
            When::AtOnce => (DesiredState::Running, None),
            When::AfterPredecessor => (DesiredState::Ready, None),
            When::At(at) => (DesiredState::Ready, Some(at)),
        };
        if let Some(at) = start_after {
            self.wake_at(service.id, at);
        }
        let id = self.ids.task_id();
        let new = NewTask {
            id,
            service_id: service.id,
            slot,
            template_version: start.template,
            desired,
            start_after,
            restarts: start.restarts,
        };
        self.draft.create(&new);
        id
    }
}

/// How a new task begins.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) template: TemplateVersion,
    pub(super) when: When,
    pub(super) restarts: RestartRecord,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    AtOnce,
    /// Prepared now, released when whatever else is in the slot has ended.
    AfterPredecessor,
    At(Timestamp),
}
