//! The leader loop: looks at what changed, plans, and proposes the plan as one entry; one plan at a time.
//!
//! It acts only while this manager leads, and plans only once everything committed before its term is applied here. A
//! plan carries the term it was made in, so that one that outlives its leader is void. What it keeps between events is
//! a hint where to look: losing all of it costs one look at everything.
//!
//! Planning runs on this task, under the state's read lock.

mod agenda;
mod backoff;
mod ids;

use std::{collections::BTreeSet, future::Future, pin::Pin, sync::Arc, time::Duration};

use muster_core::{
    action::Action,
    command::{Command, Move, Outcome},
    plan::{
        Dirty, Input, Plan,
        concern::{OutageWatch, services_of_nodes},
        plan,
        rebalance::{self, Held, Rebalance, Relocation},
    },
};
use muster_proto::{id::NodeId, time::Timestamp, version::Term};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    changes::Changed,
    clock::Clock,
    leader::{agenda::Agenda, backoff::Backoff, ids::RandomIds},
    leadership::Leadership,
    leases::{self, Leases},
    outside::Random,
    proposer,
    replica::{ProposeError, Replica},
};

/// The longest sleep before the clock is read again: it may have been set.
const WAKE_SLEEP_MAX: Duration = Duration::from_secs(30);

/// Between two looks at whether tasks should move by themselves, where that is asked for.
const BALANCE_TICK: Duration = Duration::from_secs(5);

/// Everything that can wake the loop.
#[derive(Debug)]
enum Event {
    Leadership(Leadership),
    Changed(Changed),
    /// Nodes became ready or were lost.
    Nodes(BTreeSet<NodeId>),
    LeaseTick,
    BalanceTick,
    /// A wake-up time of a plan has come.
    Due,
    /// The pause after a failure is over.
    Rested,
    CaughtUp(Result<(), ProposeError>),
    Executed(Dirty, usize, Result<Outcome, ProposeError>),
    Moved(Result<Outcome, ProposeError>),
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Following,
    /// Leads, and does not know yet what earlier leaders committed last.
    CatchingUp(Term),
    Leading(Term),
}

type Work = Pin<Box<dyn Future<Output = Event> + Send>>;

pub(crate) struct Service {
    replica: Replica,
    leases: Leases,
    clock: Arc<dyn Clock>,
    phase: Phase,
    agenda: Agenda,
    outage: OutageWatch,
    backoff: Backoff,
    ids: RandomIds,
    /// When a node came or went last, as far as this leader knows.
    nodes_changed: Timestamp,
    /// Why no task moves by itself, as it was said last.
    balance_held: Option<Held>,
    /// Whether tasks should move is to be looked at.
    balance_due: bool,
    /// The one proposal, or the one barrier, under way.
    work: Option<Work>,
}

impl Service {
    pub(crate) fn new(replica: Replica, leases: Leases, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            replica,
            leases,
            clock,
            phase: Phase::Following,
            agenda: Agenda::default(),
            outage: OutageWatch::default(),
            backoff: Backoff::default(),
            ids: RandomIds(random),
            nodes_changed: Timestamp::EPOCH,
            balance_held: None,
            balance_due: false,
            work: None,
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut leadership = self.replica.leadership();
        leadership.mark_changed();
        let changes = self.replica.watch();
        let mut lease_tick = interval(leases::TICK);
        lease_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut balance_tick = interval(BALANCE_TICK);
        balance_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.begin_work();
            let due = self.agenda.sleep(self.clock.now(), WAKE_SLEEP_MAX);
            let event = tokio::select! {
                () = stop.cancelled() => Event::Stop,
                changed = leadership.changed() => match changed {
                    Ok(()) => Event::Leadership(leadership.borrow_and_update().clone()),
                    Err(_closed) => Event::Stop,
                },
                changed = changes.changed() => Event::Changed(changed),
                nodes = self.leases.changed() => Event::Nodes(nodes),
                _ = lease_tick.tick() => Event::LeaseTick,
                _ = balance_tick.tick() => Event::BalanceTick,
                () = sleep(due.unwrap_or_default()), if due.is_some() => Event::Due,
                () = rest(&self.backoff), if self.backoff.until().is_some() => Event::Rested,
                event = under_way(&mut self.work), if self.work.is_some() => {
                    self.work = None;
                    event
                }
            };
            match event {
                Event::Leadership(now) => self.take_leadership(&now),
                Event::Changed(changed) => self.look_at_changed(changed),
                Event::Nodes(nodes) => {
                    self.nodes_changed = self.clock.now();
                    self.look_at_nodes(&nodes);
                }
                Event::LeaseTick => self.leases.tick(self.clock.now()),
                Event::BalanceTick => self.balance_due = true,
                Event::Due => self.agenda.take_due(self.clock.now()),
                Event::Rested => self.backoff.rested(),
                Event::CaughtUp(result) => self.caught_up(&result),
                Event::Moved(result) => self.moved(&result),
                Event::Executed(dirty, actions, result) => self.executed(dirty, actions, &result),
                Event::Stop => break,
            }
        }
        self.leases.end();
    }

    fn take_leadership(&mut self, now: &Leadership) {
        match (now.leading(), self.phase) {
            (Some(term), Phase::CatchingUp(same) | Phase::Leading(same)) if term == same => {}
            (Some(term), Phase::Following | Phase::CatchingUp(_) | Phase::Leading(_)) => {
                tracing::info!(%term, "this manager leads");
                self.leases.end();
                self.restart(Phase::CatchingUp(term));
            }
            (None, Phase::Following) => {}
            (None, Phase::CatchingUp(_) | Phase::Leading(_)) => {
                tracing::info!("this manager no longer leads");
                self.leases.end();
                self.restart(Phase::Following);
            }
        }
    }

    /// What is under way is dropped; if it commits all the same, its term tells whether it counts.
    fn restart(&mut self, phase: Phase) {
        self.phase = phase;
        self.agenda = Agenda::default();
        self.outage = OutageWatch::default();
        self.backoff = Backoff::default();
        self.work = None;
        self.nodes_changed = self.clock.now();
    }

    fn look_at_changed(&mut self, changed: Changed) {
        if self.phase == Phase::Following {
            return;
        }
        match changed {
            Changed::Everything => {
                self.cover_nodes();
                self.agenda.add_everything();
            }
            Changed::Some(touched) => {
                self.agenda.add_services(touched.services);
                if touched.capacity {
                    let nodes = self.cover_nodes();
                    self.look_at_nodes(&nodes);
                }
            }
        }
    }

    /// Nodes that were added or changed since the last call.
    fn cover_nodes(&mut self) -> BTreeSet<NodeId> {
        self.replica.read(|state| {
            self.leases.cover(state);
            self.agenda.note_nodes(state.nodes())
        })
    }

    fn look_at_nodes(&mut self, nodes: &BTreeSet<NodeId>) {
        if self.phase == Phase::Following {
            return;
        }
        let services = self.replica.read(|state| services_of_nodes(state, nodes));
        self.agenda.add_services(services);
    }

    fn caught_up(&mut self, result: &Result<(), ProposeError>) {
        match (result, self.phase) {
            (Ok(()), Phase::CatchingUp(term)) => {
                self.phase = Phase::Leading(term);
                self.backoff.succeeded();
                // Not sooner: what was committed last may have made the lease longer that agents count on.
                let now = self.clock.now();
                self.replica.read(|state| self.leases.begin(now, state));
                self.cover_nodes();
                self.agenda.add_everything();
            }
            (Ok(()), Phase::Following | Phase::Leading(_)) => {}
            (Err(why), Phase::Following | Phase::CatchingUp(_) | Phase::Leading(_)) => {
                tracing::warn!(error = %why, "this manager leads and cannot catch up; trying again");
                self.backoff.failed();
            }
        }
    }

    fn executed(&mut self, dirty: Dirty, actions: usize, result: &Result<Outcome, ProposeError>) {
        match result {
            Ok(Outcome::Done { .. }) => self.backoff.succeeded(),
            Ok(Outcome::Partly { stale, .. }) => {
                tracing::debug!(stale = stale.len(), actions, "parts of a plan were overtaken");
                self.agenda.add(dirty);
                // A plan that moves nothing would be made again at once, and again.
                if stale.len() < actions { self.backoff.succeeded() } else { self.backoff.failed() }
            }
            Ok(Outcome::Rejected(why)) => {
                tracing::debug!(%why, "a plan was overtaken");
                self.agenda.add_everything();
                self.backoff.failed();
            }
            Err(why) => {
                tracing::warn!(error = %why, "a plan was not carried out; planning again");
                self.agenda.add_everything();
                self.backoff.failed();
            }
        }
    }

    fn begin_work(&mut self) {
        if self.work.is_some() || self.backoff.until().is_some() {
            return;
        }
        self.work = match self.phase {
            Phase::Following => None,
            Phase::CatchingUp(_) => {
                let replica = self.replica.clone();
                Some(Box::pin(async move { Event::CaughtUp(replica.barrier().await) }))
            }
            Phase::Leading(term) => self.plan(term).or_else(|| self.balance()),
        };
    }

    /// What was asked to move is planned like anything else that changed; another look follows with the next tick.
    fn moved(&mut self, result: &Result<Outcome, ProposeError>) {
        match result {
            Ok(outcome) => tracing::debug!(?outcome, "tasks are to move"),
            Err(why) => {
                tracing::warn!(error = %why, "tasks that should move were not told to");
                self.backoff.failed();
            }
        }
    }

    /// Only with nothing else to do.
    fn balance(&mut self) -> Option<Work> {
        if !std::mem::take(&mut self.balance_due) {
            return None;
        }
        let (liveness, now) = (self.leases.liveness(), self.clock.now());
        let Rebalance { moves, held, .. } =
            self.replica.read(|state| rebalance::automatic(state, &liveness, now, self.nodes_changed));
        if held != self.balance_held {
            if let Some(why) = &held {
                tracing::info!("no task moves by itself: {why}");
            }
            self.balance_held = held;
        }
        let moves: Vec<Move> = moves.iter().map(Relocation::as_move).collect();
        if moves.is_empty() {
            return None;
        }
        tracing::info!(moves = moves.len(), "tasks move to nodes that have fewer");
        let replica = self.replica.clone();
        Some(Box::pin(async move { Event::Moved(replica.propose(Command::MoveTasks { moves }).await) }))
    }

    fn plan(&mut self, term: Term) -> Option<Work> {
        let now = self.clock.now();
        self.leases.tick(now);
        let liveness = self.leases.liveness();
        let held = self.replica.read(|state| self.outage.changed(state, &liveness, now));
        self.agenda.add_services(held);
        let dirty = self.agenda.take()?;
        let Plan { actions, wake, more } =
            self.replica.read(|state| plan(Input { state, liveness: &liveness, now, dirty: &dirty }, &mut self.ids));
        self.agenda.planned(now, &dirty, wake);
        let (actions, cut) = bounded(actions);
        if actions.is_empty() {
            return None;
        }
        if more || cut {
            self.agenda.add(dirty.clone());
        }
        let replica = self.replica.clone();
        Some(Box::pin(async move {
            let count = actions.len();
            let result = replica.propose(Command::Execute { term, actions }).await;
            Event::Executed(dirty, count, result)
        }))
    }
}

async fn under_way(work: &mut Option<Work>) -> Event {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

async fn rest(backoff: &Backoff) {
    match backoff.until() {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// As many actions as one command may take, and whether some were left out. Later actions may build on earlier ones,
/// never the other way round.
fn bounded(mut actions: Vec<Action>) -> (Vec<Action>, bool) {
    let mut bytes = 0;
    // An action alone is far smaller than a command may be.
    let fitting = actions.iter().take_while(|action| {
        bytes += proposer::encoded_len(action);
        bytes < proposer::COMMAND_BYTES_MAX - COMMAND_OVERHEAD_BYTES
    });
    let fitting = fitting.count();
    let cut = fitting < actions.len();
    actions.truncate(fitting);
    (actions, cut)
}

/// What a command has around its actions.
const COMMAND_OVERHEAD_BYTES: usize = 1 << 10;
