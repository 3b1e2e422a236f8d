//! Asks the scheduler for every task that waits for a node, whatever service it belongs to: room that one gives back
//! another may take.

use std::collections::BTreeMap;

use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    task::{Slot, Task},
    version::TemplateVersion,
    waiting::WaitingOn,
};

use super::{pass::Pass, schedule::Placer};

/// Tasks that any node may take and that look alike get the same refusal: a pass only ever takes room away.
type Refused = BTreeMap<(ServiceId, TemplateVersion), WaitingOn>;

/// Longest waiting first. Reasons are told at the end, when it is known what all the others took: told on the way,
/// the next plan would correct them.
pub(super) fn place_waiting(pass: &mut Pass<'_, '_>) {
    let mut waiting: Vec<_> =
        pass.draft.tasks_without_node().map(|task| (task.created_at, task.service_id, task.slot, task.id)).collect();
    waiting.sort_unstable();
    let mut placer = Placer::new(pass.draft.state(), pass.liveness, pass.now);
    let mut refused = Refused::new();
    let mut left_over: Vec<TaskId> = Vec::new();
    for (.., id) in waiting {
        if pass.draft.is_full() && pass.draft.state().task(id).is_some() {
            pass.more = true;
            continue;
        }
        match ask(pass, &mut placer, id, &mut refused) {
            Some(Ok(node)) => pass.draft.place(id, Ok(node)),
            Some(Err(_)) => left_over.push(id),
            None => {}
        }
    }
    // The scheduler is quick while it is asked about one service after the other.
    left_over.sort_by_key(|id| (pass.draft.task(*id).map(|task| task.service_id), *id));
    let mut reasons = Refused::new();
    for id in left_over {
        if pass.draft.is_full() && pass.draft.state().task(id).is_some() {
            pass.more = true;
            return;
        }
        if let Some(answer) = ask(pass, &mut placer, id, &mut reasons) {
            pass.draft.place(id, answer);
        }
    }
}

fn ask(
    pass: &Pass<'_, '_>,
    placer: &mut Placer<'_>,
    id: TaskId,
    refused: &mut Refused,
) -> Option<Result<NodeId, WaitingOn>> {
    let task = pass.draft.task(id)?;
    let service = pass.draft.service(task.service_id)?;
    let alike = shared_key(task);
    if let Some(waiting) = alike.and_then(|key| refused.get(&key)) {
        return Some(Err(waiting.clone()));
    }
    let answer = placer.place(&pass.draft, service, &task.template, task.slot);
    if let (Some(key), Err(waiting)) = (alike, &answer) {
        refused.insert(key, waiting.clone());
    }
    Some(answer)
}

fn shared_key(task: &Task) -> Option<(ServiceId, TemplateVersion)> {
    match task.slot {
        Slot::Number(_) => Some((task.service_id, task.template_version)),
        Slot::Node(_) => None,
    }
}
