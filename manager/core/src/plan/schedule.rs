//! Placement: which node a slot's next task runs on, or why it cannot run anywhere.
//!
//! Called by the stages of the plan, with one [`Placer`] for the whole pass. Reads the [`Draft`], calls nobody else.
//!
//! Invariants: a node is chosen only when every filter passes with the draft's own placements counted; the same draft
//! gives the same node, whatever was asked before; a refusal is the value that the filter itself returned.
//!
//! Deliberately not known here: why a task is wanted, which task it replaces, and whether the plan is carried out.
//!
//! Fast where it must be: what the nodes hold is counted once for each pass, and only when something is to be placed;
//! the nodes are ranked once for each service and template, and only nodes that changed since are looked at again.
//! Only the rankings of a few services are kept, so services should be asked about one after the other, not in turns.

mod explain;
mod field;
mod filter;
mod footprint;
mod ranking;
mod score;
mod seats;
mod service_use;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    node::Node,
    service::Service,
    task::{Slot, Task, Template},
    time::Timestamp,
    waiting::{Refusal, WaitingOn},
};

pub use self::score::Gain;
use self::{
    filter::{Offer, Want},
    footprint::Footprint,
    ranking::Ranking,
    seats::{Seat, Seats},
    service_use::ServiceUse,
};
use super::draft::Draft;
use crate::{liveness::Liveness, state::State};

/// Whether the node may get a task of this service, whatever it has free: what gives a global service its slots.
/// A node that is down, paused, not heard from, or whose engine is away is refused a *new* task; only a drained one
/// and one that no longer meets a constraint should lose a task that it runs.
pub fn eligible(liveness: &Liveness, service: &Service, node: &Node) -> Result<(), Refusal> {
    filter::fitness(&Want { template: &service.template }, node, liveness.of(node.id))
}

/// Whether `node` can take another task of the slot of `present`, made of the same template, while all that it has stays.
pub fn accepts(
    draft: &Draft<'_>,
    liveness: &Liveness,
    service: &Service,
    present: &Task,
    node: NodeId,
) -> Result<(), Refusal> {
    let Some(row) = draft.node(node) else { return Err(Refusal::NodeDown) };
    let mut seats = Seats::new(std::iter::once((row, liveness.of(node))));
    let footprints: Vec<Footprint> = draft.tasks_of_node(node).filter_map(Footprint::of).collect();
    footprints.iter().for_each(|footprint| seats.take(footprint));
    let others = footprints.iter().filter(|f| f.active && f.service == service.id && f.slot != present.slot).count();
    let replicas = u32::try_from(others).unwrap_or(u32::MAX);
    filter::check(&Want { template: &present.template }, &offer(seats.at(0), replicas))
}

/// Rankings of so many services are kept; one takes about a megabyte for each 10,000 nodes. Tests keep two, so that they
/// see one go and come back.
const FOCUSES_MAX: usize = if cfg!(test) { 2 } else { 32 };

/// One pass of placements over one state.
#[derive(Debug)]
pub struct Placer<'a> {
    state: &'a State,
    liveness: &'a Liveness,
    now: Timestamp,
    /// How many of the draft's writes are counted.
    read: usize,
    /// What the draft made of tasks so far; None: the row goes, or counts for nothing any more.
    drafted: BTreeMap<TaskId, Option<Footprint>>,
    /// What a rebalance moves away holds its room until it has moved.
    moved: Vec<(TaskId, Footprint)>,
    /// None until something is to be placed.
    seats: Option<Seats<'a>>,
    /// Services asked about of late, the last one at the end; at most [`FOCUSES_MAX`].
    focuses: Vec<Focus>,
}

/// When a task that is placed starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    AtOnce,
    /// It is prepared now, and starts once whoever is in its slot has ended.
    AfterPredecessor,
}

/// What is kept of one service.
#[derive(Debug)]
struct Focus {
    service: ServiceId,
    in_use: ServiceUse,
    /// One for each template, of which a rollout has two.
    rankings: Vec<Ranking>,
}

impl<'a> Placer<'a> {
    pub fn new(state: &'a State, liveness: &'a Liveness, now: Timestamp) -> Self {
        Self {
            state,
            liveness,
            now,
            read: 0,
            drafted: BTreeMap::new(),
            moved: Vec::new(),
            seats: None,
            focuses: Vec::new(),
        }
    }

    /// The best node for the next task in `slot`, which is made of `template`. It counts as placed once the draft says
    /// so. Tasks that are in the slot now are taken for leaving: they count neither against the node's limit of
    /// replicas nor in the spread, but hold their resources until they ended, and their host ports against one that
    /// starts at once.
    ///
    /// `draft` must be the same one throughout, and of the state that this placer was made for.
    pub fn place(
        &mut self,
        draft: &Draft<'_>,
        service: &Service,
        template: &Template,
        slot: Slot,
        start: Start,
    ) -> Result<NodeId, WaitingOn> {
        self.read_on(draft);
        self.decide(service, template, slot, start)
    }

    /// Whether the node of `present` would do for another task of its slot, made of `template`, once `present` and
    /// whoever of the slot is leaving there have ended.
    pub fn would_do_without(
        &mut self,
        draft: &Draft<'_>,
        service: &Service,
        template: &Template,
        present: &Task,
    ) -> bool {
        self.read_on(draft);
        let Some(footprint) = Footprint::of(present) else { return false };
        let (seats, focus) = self.turn_to(service.id);
        focus.in_use.set_aside(present.slot, seats);
        let would_do = explain::would_do(seats, focus, template, &footprint);
        focus.in_use.take_back(seats);
        would_do
    }

    /// A node where `task` is better placed than where it is, as the score has it.
    pub fn better_for(&mut self, service: &Service, task: &Task, gain: Gain) -> Option<NodeId> {
        let (seats, focus) = self.turn_to(service.id);
        let present = seats.index_of(task.node_id?)?;
        focus.in_use.set_aside(task.slot, seats);
        let at = focus.ranking(&task.template, seats);
        let better = focus.rankings[at].better(seats, &focus.in_use, present, gain);
        focus.in_use.take_back(seats);
        better
    }

    /// Counts `task` on another node from now on. Its own keeps the room for it that it takes there: it leaves only
    /// when it is served for.
    pub fn relocate(&mut self, task: &Task, to: NodeId) {
        let Some(before) = Footprint::of(task) else { return };
        self.note(task.id, Some(&Task { node_id: Some(to), ..task.clone() }));
        let left = Footprint { active: false, ..before };
        if let Some(seats) = &mut self.seats {
            count(seats, &mut self.focuses, task.id, &left, Change::Comes);
        }
        self.moved.push((task.id, left));
    }

    /// Tasks of all services that are wanted to run there.
    pub fn active_on(&mut self, node: NodeId) -> u32 {
        let seats = match self.seats.take() {
            Some(seats) => seats,
            None => self.count_all(),
        };
        let active = seats.index_of(node).map_or(0, |index| seats.at(index).in_use.active);
        self.seats = Some(seats);
        active
    }

    fn read_on(&mut self, draft: &Draft<'_>) {
        for id in draft.written_since(self.read) {
            self.note(*id, draft.task(*id));
            self.read += 1;
        }
    }

    /// The row `id` is now `task`; None: forgotten.
    fn note(&mut self, id: TaskId, task: Option<&Task>) {
        let after = task.and_then(Footprint::of);
        let before = match self.drafted.insert(id, after.clone()) {
            Some(drafted) => drafted,
            None => self.state.task(id).and_then(Footprint::of),
        };
        if let Some(seats) = &mut self.seats {
            for (footprint, change) in [(&before, Change::Leaves), (&after, Change::Comes)] {
                if let Some(footprint) = footprint {
                    count(seats, &mut self.focuses, id, footprint, change);
                }
            }
        }
    }

    fn decide(
        &mut self,
        service: &Service,
        template: &Template,
        slot: Slot,
        start: Start,
    ) -> Result<NodeId, WaitingOn> {
        let (seats, focus) = self.turn_to(service.id);
        focus.in_use.set_aside(slot, seats);
        match start {
            Start::AtOnce => {}
            Start::AfterPredecessor => focus.in_use.set_ports_aside(slot, seats),
        }
        let placed = match slot {
            Slot::Number(_) => {
                let at = focus.ranking(template, seats);
                let best = focus.rankings[at].best(seats, &focus.in_use);
                best.ok_or_else(|| explain::every_seat(seats, focus, template, slot, at))
            }
            Slot::Node(node) => explain::one_seat(seats, focus, template, slot, node),
        };
        focus.in_use.take_back(seats);
        placed
    }

    fn turn_to(&mut self, service: ServiceId) -> (&mut Seats<'a>, &mut Focus) {
        let seats = match self.seats.take() {
            Some(seats) => seats,
            None => self.count_all(),
        };
        let focus = match self.focuses.iter().position(|focus| focus.service == service) {
            Some(at) => self.focuses.remove(at),
            None => Focus { service, in_use: self.count_service(service, &seats), rankings: Vec::new() },
        };
        if self.focuses.len() == FOCUSES_MAX {
            self.focuses.remove(0);
        }
        self.focuses.push(focus);
        (self.seats.insert(seats), self.focuses.last_mut().expect("a focus was pushed"))
    }

    fn count_all(&self) -> Seats<'a> {
        let mut seats = Seats::new(self.state.nodes().map(|node| (node, self.liveness.of(node.id))));
        for task in self.state.tasks().filter(|task| !self.drafted.contains_key(&task.id)) {
            if let Some(footprint) = Footprint::of(task) {
                seats.take(&footprint);
            }
        }
        for footprint in self.drafted.values().flatten().chain(self.moved.iter().map(|(_, left)| left)) {
            seats.take(footprint);
        }
        seats
    }

    fn count_service(&self, service: ServiceId, seats: &Seats<'a>) -> ServiceUse {
        let mut in_use = ServiceUse::default();
        for task in self.state.tasks_of_service(service) {
            in_use.remember_failure(task, self.state.tasks_of_slot(service, task.slot), self.now, seats);
            if !self.drafted.contains_key(&task.id)
                && let Some(footprint) = Footprint::of(task)
            {
                in_use.take(task.id, &footprint, seats);
            }
        }
        for (id, drafted) in &self.drafted {
            if let Some(footprint) = drafted.as_ref().filter(|f| f.service == service) {
                in_use.take(*id, footprint, seats);
            }
        }
        for (id, left) in self.moved.iter().filter(|(_, left)| left.service == service) {
            in_use.take(*id, left, seats);
        }
        in_use
    }
}

impl Focus {
    /// The place of this template's ranking, which is made when it is not there.
    fn ranking(&mut self, template: &Template, seats: &Seats<'_>) -> usize {
        let known = self.rankings.iter().position(|ranking| ranking.is_for(template));
        known.unwrap_or_else(|| {
            self.rankings.push(Ranking::new(template, seats, &self.in_use));
            self.rankings.len() - 1
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Comes,
    Leaves,
}

fn count(seats: &mut Seats<'_>, focuses: &mut [Focus], id: TaskId, footprint: &Footprint, change: Change) {
    match change {
        Change::Comes => seats.take(footprint),
        Change::Leaves => seats.give_back(footprint),
    }
    if let Some(focus) = focuses.iter_mut().find(|focus| focus.service == footprint.service) {
        match change {
            Change::Comes => focus.in_use.take(id, footprint, seats),
            Change::Leaves => focus.in_use.give_back(id, footprint, seats),
        }
    }
}

/// What `seat` offers to a service that has `replicas` tasks there.
fn offer<'s>(seat: &'s Seat<'_>, replicas: u32) -> Offer<'s> {
    Offer { node: seat.node, state: seat.state, in_use: &seat.in_use, replicas }
}
