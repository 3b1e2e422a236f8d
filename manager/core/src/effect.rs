//! What each step makes of a task's row. Used twice, so that the two cannot differ: by `apply` for real, and by the
//! plan's draft to see what its own actions will have done.
//!
//! Deliberately absent: checks (apply makes them) and versions (the row's version is the entry that changed it).

use std::{collections::BTreeSet, sync::Arc};

use muster_proto::{
    endpoint::PortConfig,
    id::{NodeId, ServiceId, TaskId},
    restart::RestartRecord,
    rollout::{Rollout, RolloutState, Trust},
    service::{PreviousSpec, Service},
    task::{Slot, Task, TaskStatus, Template},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    version::{Fence, TemplateVersion, Version},
    waiting::WaitingOn,
};

/// A new attempt, as an action or the draft describes it.
#[derive(Clone, Debug)]
pub(crate) struct NewTask {
    pub(crate) id: TaskId,
    pub(crate) service_id: ServiceId,
    pub(crate) slot: Slot,
    pub(crate) template_version: TemplateVersion,
    pub(crate) desired: DesiredState,
    pub(crate) start_after: Option<Timestamp>,
    pub(crate) restarts: RestartRecord,
}

/// The template of this number, while the service knows it: its present one or the one before.
pub(crate) fn template_of(service: &Service, version: TemplateVersion) -> Option<&Arc<Template>> {
    if service.template_version == version {
        return Some(&service.template);
    }
    service.previous.as_deref().filter(|p| p.template_version == version).map(|p| &p.template)
}

/// A row without a node.
pub(crate) fn create(service: &Service, template: &Arc<Template>, new: &NewTask, at: Timestamp) -> Task {
    Task {
        id: new.id,
        version: Version::default(),
        created_at: at,
        service_id: new.service_id,
        service_name: service.spec.name.clone(),
        slot: new.slot,
        template_version: new.template_version,
        template: Arc::clone(template),
        node_id: None,
        fence: Fence::default(),
        desired: new.desired,
        status: TaskStatus::new(TaskState::Pending, at, "waiting for a node"),
        start_after: new.start_after,
        restarts: new.restarts.clone(),
        waiting: None,
        moves_to: None,
    }
}

pub(crate) fn assign(task: &mut Task, node: NodeId, fence: Fence, at: Timestamp) {
    task.node_id = Some(node);
    task.fence = fence;
    task.status = TaskStatus::new(TaskState::Assigned, at, "assigned to a node");
    task.waiting = held_back(task);
}

pub(crate) fn desire(task: &mut Task, desired: DesiredState) {
    task.desired = desired;
    if desired > DesiredState::Running {
        task.waiting = None;
    } else if task.node_id.is_some() {
        task.waiting = held_back(task);
    }
}

/// Why a task that has its node may not start yet.
fn held_back(task: &Task) -> Option<WaitingOn> {
    match task.desired {
        DesiredState::Ready => {
            Some(task.start_after.map_or(WaitingOn::Predecessor, |until| WaitingOn::RestartDelay { until }))
        }
        DesiredState::Running | DesiredState::Shutdown | DesiredState::Remove => None,
    }
}

/// The node is gone for good, and with it whoever could report on the task or clean up after it.
pub(crate) fn orphan(task: &mut Task, at: Timestamp) {
    task.status.state = TaskState::Orphaned;
    task.status.at = at;
    task.status.message = "lost with its node".to_owned();
    task.status.error = Some("the node was removed from the cluster; what became of the task is not known".to_owned());
    task.status.removed = true;
    task.waiting = None;
}

pub(crate) fn begin_rollout(state: RolloutState, target: TemplateVersion, at: Timestamp, message: String) -> Rollout {
    Rollout {
        state,
        target,
        started_at: at,
        completed_at: None,
        progressed_at: at,
        done: BTreeSet::new(),
        failed: BTreeSet::new(),
        failures: Vec::new(),
        message,
        hold: None,
        trust: Trust::default(),
        canaries: BTreeSet::new(),
    }
}

/// The service with its previous spec in the place of the present one, and no previous spec left.
pub(crate) fn restore(service: &Service, previous: &PreviousSpec, ports: Vec<PortConfig>) -> Service {
    Service {
        spec: previous.spec.clone(),
        template: Arc::clone(&previous.template),
        template_version: previous.template_version,
        previous: None,
        ports,
        ..service.clone()
    }
}
