//! The state as the plan so far will have changed it: an overlay that every stage reads and writes. Each write is an
//! [`Action`], and the overlay shows its effect at once, so that later stages decide on what earlier ones decided.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    node::Node,
    rollout::Rollout,
    service::Service,
    task::{Slot, Task},
    task_state::DesiredState,
    time::Timestamp,
    version::Fence,
    waiting::WaitingOn,
};

use super::ACTIONS_MAX;
use crate::{
    action::Action,
    effect::{self, NewTask},
    state::State,
};

/// The most actions that one slot's decisions take; a stage begins a slot only while so many still fit, so that no
/// plan ends between the halves of a step.
const ACTIONS_PER_SLOT_MAX: usize = 64;

#[derive(Debug)]
pub struct Draft<'a> {
    state: &'a State,
    now: Timestamp,
    actions: Vec<Action>,
    /// Rows that differ from the state's; None: forgotten.
    tasks: BTreeMap<TaskId, Option<Task>>,
    services: BTreeMap<ServiceId, Service>,
    /// Tasks the state does not have yet, and the place of the action that makes each.
    created: BTreeMap<TaskId, usize>,
    created_by_service: BTreeMap<ServiceId, BTreeSet<(Slot, TaskId)>>,
    /// Tasks that got their node in this plan.
    placed_by_node: BTreeMap<NodeId, BTreeSet<TaskId>>,
    /// Rows in the order they were written, with repeats: the scheduler keeps its counts by reading on from where it
    /// was.
    written: Vec<TaskId>,
}

impl<'a> Draft<'a> {
    #[must_use]
    pub fn new(state: &'a State, now: Timestamp) -> Self {
        Self {
            state,
            now,
            actions: Vec::new(),
            tasks: BTreeMap::new(),
            services: BTreeMap::new(),
            created: BTreeMap::new(),
            created_by_service: BTreeMap::new(),
            placed_by_node: BTreeMap::new(),
            written: Vec::new(),
        }
    }

    /// What the plan started from.
    #[must_use]
    pub fn state(&self) -> &'a State {
        self.state
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&'a Node> {
        self.state.node(id)
    }

    /// In order of id.
    pub fn nodes(&self) -> impl Iterator<Item = &'a Node> {
        self.state.nodes()
    }

    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(&id).or_else(|| self.state.service(id))
    }

    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        match self.tasks.get(&id) {
            Some(row) => row.as_ref(),
            None => self.state.task(id),
        }
    }

    /// Those of the state, then those that this plan placed there.
    pub fn tasks_of_node(&self, id: NodeId) -> impl Iterator<Item = &Task> {
        let placed = self.placed_by_node.get(&id).into_iter().flatten();
        self.state.tasks_of_node(id).map(|task| task.id).chain(placed.copied()).filter_map(|id| self.task(id))
    }

    /// Those of the state in order of slot and id, then those that this plan makes, in the same order.
    pub fn tasks_of_service(&self, id: ServiceId) -> impl Iterator<Item = &Task> {
        let created = self.created_by_service.get(&id).into_iter().flatten();
        self.state
            .tasks_of_service(id)
            .map(|task| task.id)
            .chain(created.map(|(_, task)| *task))
            .filter_map(|id| self.task(id))
    }

    /// Every task that has no node yet and still wants one.
    pub fn tasks_without_node(&self) -> impl Iterator<Item = &Task> {
        self.state
            .tasks_without_node()
            .map(|task| task.id)
            .chain(self.created.keys().copied())
            .filter_map(|id| self.task(id))
            .filter(|task| task.node_id.is_none() && task.is_active())
    }

    /// The rows written after the first `count` writes.
    #[must_use]
    pub fn written_since(&self, count: usize) -> &[TaskId] {
        self.written.get(count..).unwrap_or_default()
    }

    fn write(&mut self, id: TaskId, row: Option<Task>) {
        self.tasks.insert(id, row);
        self.written.push(id);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// No further slot may be begun in this plan.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.actions.len() + ACTIONS_PER_SLOT_MAX > ACTIONS_MAX
    }

    #[must_use]
    pub fn into_actions(self) -> Vec<Action> {
        self.actions
    }

    /// A new task, without a node until [`Draft::place`]. Nothing happens when the service does not know the template.
    pub(crate) fn create(&mut self, new: &NewTask) {
        let Some(service) = self.service(new.service_id) else { return };
        let Some(template) = effect::template_of(service, new.template_version) else { return };
        let task = effect::create(service, template, new, self.now);
        self.created.insert(new.id, self.actions.len());
        self.created_by_service.entry(new.service_id).or_default().insert((new.slot, new.id));
        self.actions.push(Action::CreateTask {
            id: new.id,
            service_id: new.service_id,
            slot: new.slot,
            slot_version: self.state.slot_version(new.service_id, new.slot),
            template_version: new.template_version,
            desired: new.desired,
            start_after: new.start_after,
            restarts: new.restarts.clone(),
            placement: Err(WaitingOn::NoNodes),
        });
        self.write(new.id, Some(task));
    }

    /// The scheduler's answer for a task without a node. Says so only where it differs from what is stored.
    pub fn place(&mut self, id: TaskId, placement: Result<NodeId, WaitingOn>) {
        let Some(mut task) = self.task(id).cloned() else { return };
        if let Some(action) = self.created.get(&id).and_then(|place| self.actions.get_mut(*place)) {
            if let Action::CreateTask { placement: slot, .. } = action {
                slot.clone_from(&placement);
            }
        } else {
            match &placement {
                Ok(node_id) => {
                    self.actions.push(Action::AssignTask { id, version: task.version, node_id: *node_id });
                }
                Err(waiting) if task.waiting.as_ref() == Some(waiting) => return,
                Err(waiting) => {
                    self.actions.push(Action::SetWaiting { id, version: task.version, waiting: Some(waiting.clone()) });
                }
            }
        }
        match placement {
            Ok(node) => {
                effect::assign(&mut task, node, Fence::default(), self.now);
                self.placed_by_node.entry(node).or_default().insert(id);
            }
            Err(waiting) => task.waiting = Some(waiting),
        }
        self.write(id, Some(task));
    }

    /// Only ever forward: asking for what is so, or for less, does nothing.
    pub(crate) fn desire(&mut self, id: TaskId, desired: DesiredState) {
        let Some(task) = self.task(id).filter(|task| task.desired < desired) else { return };
        let mut task = task.clone();
        self.actions.push(Action::SetDesired { id, version: task.version, desired });
        effect::desire(&mut task, desired);
        self.write(id, Some(task));
    }

    pub(crate) fn explain(&mut self, id: TaskId, waiting: Option<WaitingOn>) {
        let Some(task) = self.task(id).filter(|task| task.waiting != waiting) else { return };
        let mut task = task.clone();
        self.actions.push(Action::SetWaiting { id, version: task.version, waiting: waiting.clone() });
        task.waiting = waiting;
        self.write(id, Some(task));
    }

    pub(crate) fn keep(&mut self, id: TaskId) {
        let Some(mut task) = self.task(id).filter(|task| task.moves_to.is_some()).cloned() else { return };
        self.actions.push(Action::KeepTask { id, version: task.version });
        task.moves_to = None;
        self.write(id, Some(task));
    }

    pub(crate) fn orphan(&mut self, id: TaskId) {
        let Some(mut task) = self.task(id).cloned() else { return };
        self.actions.push(Action::OrphanTask { id, version: task.version });
        effect::orphan(&mut task, self.now);
        self.write(id, Some(task));
    }

    pub(crate) fn forget(&mut self, id: TaskId) {
        let Some(version) = self.task(id).map(|task| task.version) else { return };
        self.actions.push(Action::ForgetTask { id, version });
        self.write(id, None);
    }

    pub(crate) fn set_rollout(&mut self, id: ServiceId, rollout: Rollout) {
        let Some(mut service) = self.service(id).cloned() else { return };
        let rollout = Box::new(rollout);
        self.actions.push(Action::SetRollout { service_id: id, version: service.version, rollout: rollout.clone() });
        service.rollout = Some(rollout);
        self.services.insert(id, service);
    }

    /// `restored` is the service as [`crate::apply`] will make it of the same action.
    pub(crate) fn start_rollback(&mut self, restored: Service, rollout: Rollout) {
        let action =
            Action::StartRollback { service_id: restored.id, version: restored.version, rollout: Box::new(rollout) };
        self.actions.push(action);
        self.services.insert(restored.id, restored);
    }

    /// Told to stop and kept as history; a row that never had a node leaves none.
    pub(crate) fn retire(&mut self, id: TaskId) {
        match self.task(id).map(|task| task.node_id) {
            Some(Some(_)) => self.desire(id, DesiredState::Shutdown),
            Some(None) => self.forget(id),
            None => {}
        }
    }

    /// Told to stop and leave nothing behind.
    pub(crate) fn discard(&mut self, id: TaskId) {
        let Some(task) = self.task(id) else { return };
        if self.is_unheld(task) { self.forget(id) } else { self.desire(id, DesiredState::Remove) }
    }

    /// Nobody holds anything for the row: it never had a node, its agent has cleaned up, or its node is gone.
    pub(crate) fn is_unheld(&self, task: &Task) -> bool {
        task.status.removed || task.node_id.is_none_or(|node| self.node(node).is_none())
    }
}
