//! Asks the scheduler for every task that waits for a node, whatever service it belongs to: room that one gives back
//! another may take.

use std::cmp::Reverse;

use muster_proto::{
    id::{NodeId, TaskId},
    task::Task,
    task_state::DesiredState,
    waiting::WaitingOn,
};

use super::{
    pass::Pass,
    room,
    schedule::{self, Placer},
};

/// Who waited for a predecessor to make room comes first, or others would take that room and the slot would have given
/// up its task for nothing; then the longest waiting. Reasons are told at the end, when it is known what all the others took and gave up: told on
/// the way, the next plan would correct them.
pub(super) fn place_waiting(pass: &mut Pass<'_, '_>) {
    let place_in_line = |task: &Task| {
        let was_made_room = task.waiting == Some(WaitingOn::Predecessor);
        (Reverse(was_made_room), task.created_at, task.service_id, task.slot, task.id)
    };
    let mut waiting: Vec<_> = pass.draft.tasks_without_node().map(place_in_line).collect();
    waiting.sort_unstable();
    let mut placer = Placer::new(pass.draft.state(), pass.liveness, pass.now);
    let mut left_over: Vec<TaskId> = Vec::new();
    for (.., id) in waiting {
        if !fits(pass, id) {
            continue;
        }
        match ask(pass, &mut placer, id) {
            Some(Ok(node)) => pass.draft.place(id, Ok(node)),
            Some(Err(_)) => left_over.push(id),
            None => {}
        }
    }
    // The scheduler is quick while it is asked about one service after the other.
    left_over.sort_by_key(|id| (pass.draft.task(*id).map(|task| task.service_id), *id));
    for id in &left_over {
        if let Some(Err(waiting)) = ask(pass, &mut placer, *id) {
            room::make_room(pass, &mut placer, *id, &waiting);
        }
    }
    for id in left_over {
        if fits(pass, id)
            && let Some(answer) = ask(pass, &mut placer, id)
        {
            pass.draft.place(id, answer);
        }
    }
    // A task with a node is taken to wait for a predecessor that stops; where it is something else, that is said.
    for (id, waiting) in std::mem::take(&mut pass.held) {
        if pass.draft.task(id).is_some_and(|task| task.node_id.is_some()) {
            pass.draft.explain(id, Some(waiting));
        }
    }
}

/// A task that this plan makes has its action already.
fn fits(pass: &mut Pass<'_, '_>, id: TaskId) -> bool {
    let fits = !pass.draft.is_full() || pass.draft.state().task(id).is_none();
    pass.more |= !fits;
    fits
}

fn ask(pass: &Pass<'_, '_>, placer: &mut Placer<'_>, id: TaskId) -> Option<Result<NodeId, WaitingOn>> {
    let task = pass.draft.task(id)?;
    let service = pass.draft.service(task.service_id)?;
    let start = match task.desired {
        DesiredState::Ready => schedule::Start::AfterPredecessor,
        DesiredState::Running | DesiredState::Shutdown | DesiredState::Remove => schedule::Start::AtOnce,
    };
    Some(placer.place(&pass.draft, service, &task.template, task.slot, start))
}
