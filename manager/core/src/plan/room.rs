//! What happens when a slot's next task finds no room while its old one holds some.

use muster_proto::{
    id::TaskId,
    rollout::UpdateOrder,
    waiting::{Refusal, WaitingOn},
};

use super::{
    pass::Pass,
    rollout,
    schedule::Placer,
    view::{Footing, footing},
};

/// Start-first by default finds no room where every node is full: then the slot's old tasks make it, where the new one
/// could take their place; where it could not they go on serving. Called once it is known that `id` gets no node in
/// this pass.
pub(super) fn make_room(pass: &mut Pass<'_, '_>, placer: &mut Placer<'_>, id: TaskId, waiting: &WaitingOn) {
    let Some(task) = pass.draft.task(id).filter(|_| lacks_room(waiting)).cloned() else { return };
    let Some(service) = pass.draft.service(task.service_id).cloned() else { return };
    let may_stop_first = match rollout::config(&service).order {
        UpdateOrder::Auto | UpdateOrder::StopFirst => true,
        UpdateOrder::StartFirst => false,
    };
    if !may_stop_first || pass.draft.is_full() {
        return;
    }
    let slot = pass.draft.state().tasks_of_slot(task.service_id, task.slot);
    let in_the_way: Vec<TaskId> = slot
        .filter_map(|row| pass.draft.task(row.id))
        .filter(|row| row.id != id && row.is_active() && footing(pass, &service, row) == Footing::Sound)
        .filter(|row| placer.would_do_without(&pass.draft, &service, &task.template, row))
        .map(|row| row.id)
        .collect();
    for id in in_the_way {
        pass.draft.retire(id);
    }
}

fn lacks_room(waiting: &WaitingOn) -> bool {
    match waiting {
        WaitingOn::NoSuitableNode { refusals, .. } => refusals.iter().any(|(_, refusal)| is_about_room(refusal)),
        WaitingOn::NoNodes
        | WaitingOn::RestartDelay { .. }
        | WaitingOn::Predecessor
        | WaitingOn::Isolation { .. }
        | WaitingOn::Turn
        | WaitingOn::Outage { .. }
        | WaitingOn::RestartsUsedUp { .. } => false,
    }
}

fn is_about_room(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Cpu { .. } | Refusal::Memory { .. } | Refusal::HostPort(_) | Refusal::MaxReplicas(_) => true,
        Refusal::NodeDown
        | Refusal::NodeUnknown
        | Refusal::NodePaused
        | Refusal::NodeDrained
        | Refusal::EngineUnavailable(_)
        | Refusal::Constraint(_) => false,
    }
}
