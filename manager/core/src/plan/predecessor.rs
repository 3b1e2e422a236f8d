//! Who has to be gone before a slot's next task may start, and until when nobody can know that.
//!
//! A task on a node that is down is not waited for, with one exception: one that asked to be stopped in isolation is
//! certainly gone once its node's lease is over and its stop grace period after that. Until then nothing that cannot
//! run twice takes its place, which is what makes it run at most once.

use muster_proto::{
    id::NodeId,
    isolation::{ISOLATION_MARGIN, OnIsolation},
    rollout::UpdateOrder,
    service::Service,
    task::{Task, Template},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    waiting::WaitingOn,
};

use super::{
    pass::Pass,
    rollout,
    view::{Footing, SlotView, footing},
};
use crate::{effect, terms};

/// Whether a task's container may be running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtWork {
    No,
    /// Until its agent says that it ended.
    Yes,
    /// It is cut off, and stopped there by then.
    Until(Timestamp),
}

pub(super) fn at_work(pass: &Pass<'_, '_>, task: &Task) -> AtWork {
    let grace = task.template.spec.container.stop_grace_period + ISOLATION_MARGIN;
    let until = |at: Timestamp| if at > pass.now { AtWork::Until(at) } else { AtWork::No };
    let stops = task.template.spec.on_isolation == OnIsolation::Stop;
    if task.status.state == TaskState::Orphaned && stops {
        // Its node's lease may have been renewed until the node was removed. The leader of then had another clock.
        let removed_at = task.status.at.max(pass.liveness.lived_since());
        return until(removed_at + terms::longest_lease(pass.draft.state(), pass.now) + grace);
    }
    let Some(node) = task.node_id.filter(|_| task.holds_resources()) else { return AtWork::No };
    match pass.liveness.down_since(node) {
        None => AtWork::Yes,
        Some(since) if stops && task.desired != DesiredState::Ready => until(since + grace),
        Some(_) => AtWork::No,
    }
}

/// What [`at_work`] will say of it once this plan has told it to stop. One that was no more than prepared when it was cut
/// off holds nothing up; but then nobody can tell any more that it was no more.
fn at_work_when_retired(pass: &Pass<'_, '_>, task: &Task) -> AtWork {
    let mut retired = task.clone();
    effect::desire(&mut retired, DesiredState::Shutdown);
    at_work(pass, &retired)
}

/// What the slot's next task waits for, of those who have to be gone first. `home` is the node that it will run on,
/// where that is known: a task there is waited for until its agent says that it ended, whether the managers hear that
/// agent or not. It will be the same one that starts the next. Whoever of them does not serve is told to stop in this plan.
pub(super) fn in_the_way<'t>(
    pass: &Pass<'_, '_>,
    home: Option<NodeId>,
    tasks: impl Iterator<Item = &'t Task>,
) -> Option<WaitingOn> {
    let (mut latest, mut told_as) = (None, None);
    for task in tasks {
        if home.is_some() && task.node_id == home && task.holds_resources() {
            return Some(WaitingOn::Predecessor);
        }
        match (at_work(pass, task), at_work_when_retired(pass, task)) {
            (AtWork::Yes, _) => return Some(WaitingOn::Predecessor),
            (AtWork::Until(at), _) => latest = latest.max(Some(at)),
            (AtWork::No, AtWork::Until(at)) => told_as = told_as.max(Some(at)),
            (AtWork::No, AtWork::No | AtWork::Yes) => {}
        }
    }
    latest.map(|until| WaitingOn::Isolation { until: told_as.map_or(until, |at| until.max(at)) })
}

/// Two tasks of one slot would fight over a host port or a volume, or at most one is wanted.
pub(super) fn cannot_run_twice(template: &Template) -> bool {
    template.spec.on_isolation == OnIsolation::Stop
        || !template.host_ports.is_empty()
        || template.spec.container.mounts.iter().any(|mount| mount.is_exclusive())
}

/// Whether `other`, which serves, has to be gone before `next` starts. An order that was asked for by name decides
/// between two versions, where it does not break the promise of one task at most.
pub(super) fn goes_first(pass: &Pass<'_, '_>, service: &Service, next: &Template, other: &Task) -> bool {
    let exclusive = cannot_run_twice(next) || cannot_run_twice(&other.template);
    match footing(pass, service, other) {
        Footing::Ended => false,
        Footing::Lost => at_work(pass, other) != AtWork::No,
        Footing::Displaced => exclusive,
        Footing::Sound | Footing::Vanished => strictly_alone(service, next, &other.template),
    }
}

/// In a rollout from one template to the other: the old task is gone before the new one starts.
pub(super) fn strictly_alone(service: &Service, next: &Template, old: &Template) -> bool {
    let at_most_one = |template: &Template| template.spec.on_isolation == OnIsolation::Stop;
    match rollout::config(service).order {
        UpdateOrder::StopFirst => true,
        UpdateOrder::StartFirst => at_most_one(next) || at_most_one(old),
        UpdateOrder::Auto => cannot_run_twice(next) || cannot_run_twice(old),
    }
}

/// Of the slot's rows: told to stop, and not known to have ended. An orphan counts, whatever it was told.
pub(super) fn on_the_way_out<'a, 'v>(view: &'v SlotView<'a>) -> impl Iterator<Item = &'a Task> + 'v {
    view.rows
        .iter()
        .copied()
        .filter(|task| task.desired > DesiredState::Running || task.status.state == TaskState::Orphaned)
}
