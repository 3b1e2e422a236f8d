//! Which running tasks should move to which nodes, so that nodes that joined or came back get their share.
//!
//! Called by whoever was asked for a rebalance, and by the leader where it is automatic. Nothing is changed here: the
//! moves become [`crate::command::Command::MoveTasks`], which marks the tasks, and the planner's stage `moves` begins each
//! in its turn. What is shown to users as a plan is this value.
//!
//! The scheduler's own order decides what is better: first each service's spread over its preferences and nodes, then
//! the number of tasks on each node. Each move makes that strictly better, so that any row of rebalances comes to rest.
//! No task is moved twice in one, room that a move gives back is not counted on, and a node is chosen only where all
//! filters pass.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    node::{Availability, NodeState},
    rollout::{RolloutState, UpdateOrder},
    service::{Mode, Service},
    task::{Slot, Task, Template},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    version::Version,
};

use super::{
    predecessor::cannot_run_twice,
    rollout,
    schedule::{Gain, Placer},
};
use crate::{command::Move, liveness::Liveness, state::State};

/// Of one rebalance. Each is a task's start somewhere; more are asked for again.
pub const MOVES_MAX: usize = 500;
/// At once, where nobody asked for it: what moves has to be ready before more does.
pub const MOVES_AUTO_MAX: usize = 4;
/// For so long no node has to have come or gone before tasks move by themselves.
const QUIET_MIN: Duration = Duration::from_secs(10);
/// Looks at nodes in one rebalance, each some hundred nanoseconds of the leader's time. A cluster of a hundred nodes has
/// room for 20,000 services in it; in a larger one what is not looked at stays.
const LOOKS_MAX: usize = 2_000_000;

/// What is to be done, and why not more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// In the order they are made; empty while it is held.
    pub moves: Vec<Relocation>,
    /// Services of which a task would be better placed elsewhere, and stays.
    pub staying: Vec<(ServiceId, Stays)>,
    pub held: Option<Held>,
    /// The budget ended first.
    pub is_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relocation {
    pub service: ServiceId,
    pub slot: Slot,
    pub task: TaskId,
    pub version: Version,
    pub from: NodeId,
    pub to: NodeId,
}

/// Why the tasks of a service are not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Stays {
    #[error(
        "its tasks cannot run twice at once (host port, writable volume, or --on-isolation stop), and would be away for a while"
    )]
    CannotRunTwice,
    #[error("its update order is stop-first, so that its tasks would be away for a while")]
    StopFirst,
    #[error("its rollout is under way or paused")]
    Rollout,
    #[error("tasks of it are moving already")]
    Moving,
    #[error("not all of its tasks are ready")]
    NotReady,
}

/// Why nothing is moved at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// These nodes are down, or not heard from by this leader yet, and not drained.
    NodesAway(BTreeSet<NodeId>),
    /// By itself only: a node came or went, and has not been quiet for long enough since.
    Quiet { until: Timestamp },
    /// By itself only: what moves has to be ready before more does.
    Moving,
}

impl fmt::Display for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Held::NodesAway(nodes) => write!(
                out,
                "{} of the nodes are down or not heard from yet; drain or remove those that will not return",
                nodes.len()
            ),
            Held::Quiet { until } => write!(out, "nodes have come or gone; tasks move from {until} on"),
            Held::Moving => out.write_str("tasks are moving already"),
        }
    }
}

impl Relocation {
    #[must_use]
    pub fn as_move(&self) -> Move {
        Move { task: self.task, version: self.version, to: self.to }
    }
}

/// At most `moves_max` moves.
#[must_use]
pub fn rebalance(state: &State, liveness: &Liveness, now: Timestamp, moves_max: usize) -> Rebalance {
    let away: BTreeSet<NodeId> = state
        .nodes()
        .filter(|node| node.spec.availability != Availability::Drain && liveness.of(node.id) != NodeState::Ready)
        .map(|node| node.id)
        .collect();
    if !away.is_empty() {
        return Rebalance { held: Some(Held::NodesAway(away)), ..Rebalance::default() };
    }
    let mut search = Search {
        placer: Placer::new(state, liveness, now),
        nodes: state
            .nodes()
            .filter(|node| node.spec.availability == Availability::Active)
            .map(|node| node.id)
            .collect(),
        moves_max: moves_max.min(MOVES_MAX),
        looks: 0,
        found: Rebalance::default(),
    };
    let services: Vec<Candidate<'_>> = state.services().filter_map(|service| Candidate::of(state, service)).collect();
    let (mut movable, barred): (Vec<_>, Vec<_>) = services.into_iter().partition(|candidate| candidate.bar.is_none());
    for gain in [Gain::Spread, Gain::Load] {
        for candidate in &mut movable {
            search.improve(candidate, gain);
        }
    }
    for candidate in &barred {
        if let Some(bar) = candidate.bar
            && search.better(candidate, Gain::Load).is_some()
        {
            search.found.staying.push((candidate.service.id, bar));
        }
    }
    search.found
}

/// The moves that were begun by any rebalance and are not over.
#[must_use]
pub fn under_way(state: &State) -> Vec<Relocation> {
    let relocation = |task: &Task| {
        let (to, from) = (task.moves_to.filter(|_| task.is_active())?, task.node_id?);
        Some(Relocation { service: task.service_id, slot: task.slot, task: task.id, version: task.version, from, to })
    };
    state.moving_tasks().filter_map(relocation).collect()
}

/// What the leader moves by itself: where that is asked for, a few at a time, and no more before they have moved. One node
/// that comes and goes draws none: `nodes_changed` is when one did last. A task of another service that finds no node is
/// no reason to wait; one of its own is ([`Stays::NotReady`]).
#[must_use]
pub fn automatic(state: &State, liveness: &Liveness, now: Timestamp, nodes_changed: Timestamp) -> Rebalance {
    if !state.cluster().is_some_and(|cluster| cluster.spec.auto_rebalance) {
        return Rebalance::default();
    }
    let held = |why| Rebalance { held: Some(why), ..Rebalance::default() };
    if now < nodes_changed + QUIET_MIN {
        return held(Held::Quiet { until: nodes_changed + QUIET_MIN });
    }
    if !under_way(state).is_empty() {
        return held(Held::Moving);
    }
    rebalance(state, liveness, now, MOVES_AUTO_MAX)
}

/// A replicated service and where its tasks serve.
struct Candidate<'a> {
    service: &'a Service,
    bar: Option<Stays>,
    /// Those that were not moved yet, by node.
    tasks: BTreeMap<NodeId, Vec<&'a Task>>,
    /// All of them, with those that were moved where they go.
    counts: BTreeMap<NodeId, usize>,
}

impl<'a> Candidate<'a> {
    fn of(state: &'a State, service: &'a Service) -> Option<Self> {
        match service.spec.mode {
            Mode::Global => return None,
            Mode::Replicated { .. } => {}
        }
        let mut tasks: BTreeMap<NodeId, Vec<&Task>> = BTreeMap::new();
        let current = || state.tasks_of_service(service.id).filter(|task| task.desired <= DesiredState::Running);
        for task in current().filter(|task| task.status.state == TaskState::Running) {
            let node = task.node_id.and_then(|node| state.node(node));
            match node.map(|node| (node.id, node.spec.availability)) {
                Some((id, Availability::Active | Availability::Pause)) => tasks.entry(id).or_default().push(task),
                // It leaves anyway.
                Some((_, Availability::Drain)) | None => {}
            }
        }
        let bar = bar(service, current());
        let counts = tasks.iter().map(|(node, tasks)| (*node, tasks.len())).collect();
        Some(Self { service, bar, tasks, counts })
    }
}

/// What of the service itself speaks against moving its tasks, which are made of `template`: not by a rollout's side, and
/// start-first.
pub(super) fn stays(service: &Service, template: &Template) -> Option<Stays> {
    match service.rollout.as_deref().map(|rollout| rollout.state) {
        None | Some(RolloutState::Completed | RolloutState::RollbackCompleted) => {}
        Some(
            RolloutState::Updating
            | RolloutState::Paused
            | RolloutState::RollbackStarted
            | RolloutState::RollbackPaused,
        ) => return Some(Stays::Rollout),
    }
    if cannot_run_twice(template) {
        return Some(Stays::CannotRunTwice);
    }
    (rollout::config(service).order == UpdateOrder::StopFirst).then_some(Stays::StopFirst)
}

fn bar<'a>(service: &Service, current: impl Iterator<Item = &'a Task>) -> Option<Stays> {
    if let Some(bar) = stays(service, &service.template) {
        return Some(bar);
    }
    let mut seen = BTreeSet::new();
    let mut bar = None;
    for task in current {
        let is_ready = task.status.state == TaskState::Running && task.template_version == service.template_version;
        if task.moves_to.is_some() {
            return Some(Stays::Moving);
        }
        if !is_ready || !seen.insert(task.slot) {
            bar = Some(Stays::NotReady);
        }
    }
    bar
}

struct Search<'a> {
    placer: Placer<'a>,
    /// That take tasks.
    nodes: Vec<NodeId>,
    moves_max: usize,
    looks: usize,
    found: Rebalance,
}

impl<'a> Search<'a> {
    fn improve(&mut self, candidate: &mut Candidate<'a>, gain: Gain) {
        while !self.found.is_cut
            && let Some((task, to)) = self.better(candidate, gain)
        {
            if self.found.moves.len() == self.moves_max {
                self.found.is_cut = true;
                return;
            }
            let Some(from) = task.node_id else { return };
            self.placer.relocate(task, to);
            self.found.moves.push(Relocation {
                service: candidate.service.id,
                slot: task.slot,
                task: task.id,
                version: task.version,
                from,
                to,
            });
            if let Some(tasks) = candidate.tasks.get_mut(&from) {
                tasks.retain(|other| other.id != task.id);
            }
            if let Some(count) = candidate.counts.get_mut(&from) {
                *count -= 1;
            }
            *candidate.counts.entry(to).or_default() += 1;
        }
    }

    /// The first task that is better placed elsewhere, from the fullest node on. Tasks of one node are alike; the
    /// highest slot goes first.
    fn better(&mut self, candidate: &Candidate<'a>, gain: Gain) -> Option<(&'a Task, NodeId)> {
        if !self.may_improve(candidate, gain) {
            return None;
        }
        self.looks += self.nodes.len();
        if self.looks > LOOKS_MAX {
            self.found.is_cut = true;
            return None;
        }
        let mut nodes: Vec<NodeId> =
            candidate.tasks.iter().filter(|(_, tasks)| !tasks.is_empty()).map(|(node, _)| *node).collect();
        nodes.sort_by_key(|node| {
            let of_service = candidate.counts.get(node).copied().unwrap_or_default();
            (Reverse((of_service, self.placer.active_on(*node))), *node)
        });
        nodes.into_iter().find_map(|node| {
            let task = candidate.tasks.get(&node)?.iter().copied().max_by_key(|task| (task.slot, task.id))?;
            self.placer.better_for(candidate.service, task, gain).map(|to| (task, to))
        })
    }

    /// Cheap, and right where it says no: most services of a cluster in balance are not worth a ranking.
    fn may_improve(&mut self, candidate: &Candidate<'_>, gain: Gain) -> bool {
        let template = &candidate.service.template;
        let is_spread_out = candidate.counts.values().all(|count| *count <= 1);
        if !template.spec.placement.preferences.is_empty() || !is_spread_out {
            return true;
        }
        match gain {
            Gain::Spread => false,
            Gain::Load => {
                let least = self.nodes.iter().map(|node| self.placer.active_on(*node)).min();
                let mut own = candidate.tasks.iter().filter(|(_, tasks)| !tasks.is_empty()).map(|(node, _)| *node);
                least.is_some_and(|least| own.any(|node| self.placer.active_on(node) > least + 1))
            }
        }
    }
}
