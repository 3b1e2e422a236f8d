//! Which rows go. History past its limit is told to leave; a row goes once nobody holds anything for it.

use std::collections::BTreeMap;

use muster_proto::{
    cluster::ClusterSpec,
    id::{ServiceId, TaskId},
    task::{Slot, Task},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
};

use super::{
    pass::Pass,
    predecessor::{self, AtWork},
};

/// Whoever could report on these is gone. How many there were: what becomes of their slots is decided once that is
/// applied.
pub(super) fn orphan_of_lost_nodes(pass: &mut Pass<'_, '_>, service: ServiceId) -> usize {
    let state = pass.draft.state();
    let nodeless = state
        .tasks_of_service(service)
        .filter(|task| task.node_id.is_some_and(|node| state.node(node).is_none()) && !task.status.state.is_final());
    let mut count = 0;
    for task in nodeless {
        if pass.draft.is_full() {
            break;
        }
        pass.draft.orphan(task.id);
        count += 1;
    }
    count
}

/// Told to stop and leave nothing behind. As long as it may run, its row is what keeps another from starting beside it.
pub(super) fn discard(pass: &mut Pass<'_, '_>, task: &Task) {
    match predecessor::at_work(pass, task) {
        AtWork::Until(_) => pass.draft.desire(task.id, DesiredState::Remove),
        AtWork::Yes | AtWork::No => pass.draft.discard(task.id),
    }
}

pub(super) fn reap(pass: &mut Pass<'_, '_>, service: ServiceId) {
    let limit = history_limit(pass, service);
    let mut gone: Vec<TaskId> = Vec::new();
    let mut history: BTreeMap<Slot, Vec<(Timestamp, TaskId)>> = BTreeMap::new();
    let mut left: BTreeMap<Slot, (Timestamp, TaskId)> = BTreeMap::new();
    // Slots that are to be filled, and whether they are.
    let mut filled: BTreeMap<Slot, bool> = BTreeMap::new();
    let mut isolated: Option<Timestamp> = None;
    for task in pass.draft.tasks_of_service(service) {
        // Looked at again when it can run no more.
        if let AtWork::Until(until) = predecessor::at_work(pass, task)
            && task.status.state.is_final()
        {
            isolated = Some(isolated.map_or(until, |earlier| until.min(earlier)));
            continue;
        }
        if task.status.running_at.is_some() {
            let row = (task.created_at, task.id);
            left.entry(task.slot).and_modify(|newest| *newest = row.max(*newest)).or_insert(row);
        }
        match task.desired {
            DesiredState::Ready | DesiredState::Running => {
                *filled.entry(task.slot).or_default() |= task.status.state == TaskState::Running;
            }
            DesiredState::Shutdown if task.node_id.is_none() => gone.push(task.id),
            DesiredState::Shutdown if task.status.state.is_final() => {
                history.entry(task.slot).or_default().push((task.created_at, task.id));
            }
            DesiredState::Shutdown => {}
            DesiredState::Remove if pass.draft.is_unheld(task) => gone.push(task.id),
            DesiredState::Remove => {}
        }
    }
    if let Some(until) = isolated {
        pass.wake_at(service, until);
    }
    let past_limit = history.into_iter().flat_map(|(slot, mut rows)| {
        // While its successors fail, what ran last says whether the slot is still on its way, however short the history.
        let stays = left.get(&slot).filter(|_| filled.get(&slot) == Some(&false));
        rows.sort_unstable_by_key(|row| (Some(row) == stays, *row));
        let kept = limit.max(usize::from(rows.last().is_some_and(|row| Some(row) == stays)));
        let count = rows.len().saturating_sub(kept);
        rows.into_iter().take(count).map(|(_, id)| id)
    });
    for id in gone.into_iter().chain(past_limit) {
        if pass.draft.is_full() {
            pass.more = true;
            return;
        }
        pass.draft.discard(id);
    }
}

/// A service that is gone has no history.
fn history_limit(pass: &Pass<'_, '_>, service: ServiceId) -> usize {
    if pass.draft.service(service).is_none() {
        return 0;
    }
    let cluster = pass.draft.state().cluster();
    let limit =
        cluster.map_or_else(|| ClusterSpec::default().task_history_limit, |cluster| cluster.spec.task_history_limit);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use muster_proto::version::Version;

    use crate::{
        action::Action,
        plan::{Dirty, IdSource, Input, plan, schedule::fixture},
    };
    use muster_proto::id::TaskId;

    struct NoIds;

    impl IdSource for NoIds {
        fn task_id(&mut self) -> TaskId {
            panic!("no task is to be made")
        }
    }

    #[test]
    fn tasks_of_a_node_that_is_gone_are_given_up_before_anything_else() {
        let service = fixture::service(1);
        let task = fixture::task(1, &service, 1, &fixture::node(1));
        let (mut state, liveness) = fixture::cluster([], [task]);
        state.put_service(service);
        let input = Input { state: &state, liveness: &liveness, now: fixture::NOW, dirty: &Dirty::Everything };
        let planned = plan(input, &mut NoIds);
        assert_eq!(planned.actions, [Action::OrphanTask { id: TaskId::from_bits(1), version: Version(1) }]);
        assert!(planned.more, "the slot is filled by the next plan");
    }
}
