//! Whether a service is as asked, will be, or cannot be. Pure: a snapshot and the time since the command began go in.
//!
//! A moving rollout has its own deadline and failure action, so it is waited for. Without one nobody else would ever
//! say "this does not work", so the rules here do: a task that no node takes for [`BLOCKED_MAX`], a slot that failed
//! [`FAILURES_MAX`] times in a row, a slot that is given up.

use std::{collections::BTreeSet, time::Duration};

use muster_proto::{health::HealthPolicy, rollout::RolloutState, service::Mode, time::Timestamp};

use super::{
    report,
    slots::{self, Phase, SlotView, Versions},
};
use crate::object::{Service, Task, service::Rollout};

/// Nodes that reconnect or free resources within this are not worth an error.
pub const BLOCKED_MAX: Duration = Duration::from_secs(10);
/// The first failure may be chance; this many in a row are not.
pub const FAILURES_MAX: u32 = 3;
/// Where a replacement follows a failure at all, it does within milliseconds, or the failed task says that it waits.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(3);
/// Most programs that cannot run end within this. Where a health check or a rollout's monitor looks, nothing is added.
pub const SETTLE: Duration = Duration::from_secs(2);
/// A task that has failed before must show more.
pub const SETTLE_AFTER_FAILURE: Duration = Duration::from_secs(10);
/// The plan that gives a global service its tasks comes right after it; after this there is none.
pub const GLOBAL_EMPTY_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Another spec: create, update of more than replicas.
    Spec,
    /// Another number of replicas. An update that is held goes on later, and is no reason to have fewer meanwhile.
    Scale,
    /// The previous spec, by the user's own wish.
    Rollback,
}

/// What the command asked for.
#[derive(Clone, Debug)]
pub struct Goal {
    pub change: Change,
    /// Snapshots of an older version do not know of the change yet.
    pub version: u64,
    /// When the rollout began that the service had before the change: that one says nothing about ours.
    pub rollout_before: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub struct Snapshot {
    /// None once it has been removed.
    pub service: Option<Service>,
    pub tasks: Vec<Task>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Going,
    Converged(String),
    /// Why not, and what to do.
    Failed(String),
}

/// What is remembered from one snapshot to the next: since when something has been so.
#[derive(Debug)]
pub struct Judge {
    goal: Goal,
    name: String,
    /// Tasks that served at the first look already: they need not prove themselves. None before that look.
    seasoned: Option<BTreeSet<String>>,
    full_since: Option<Duration>,
    blocked_since: Option<Duration>,
    given_up_since: Option<Duration>,
    empty_since: Option<Duration>,
}

/// For how long the condition has held, if it does.
fn held(since: &mut Option<Duration>, holds: bool, elapsed: Duration) -> Option<Duration> {
    *since = holds.then(|| since.unwrap_or(elapsed));
    since.map(|since| elapsed.saturating_sub(since))
}

enum Stage<'a> {
    Moving,
    /// The replicas run what they ran, and new ones what the managers take for known to work.
    ScaledWhileHeld(&'a Rollout),
    Halted(&'a Rollout),
    /// As far as an update with canaries goes by itself.
    AwaitsPromotion(&'a Rollout),
    RolledBack(&'a Rollout),
    /// The rollout's monitor has watched its tasks already.
    Monitored,
    /// No rollout of this change.
    Unwatched,
}

/// Which tasks a change waits for.
#[must_use]
pub fn versions(change: Change, service: &Service) -> Versions {
    match (change, held_rollout(service)) {
        (Change::Scale, Some(_)) => Versions::Any,
        (Change::Spec | Change::Rollback, _) | (Change::Scale, None) => Versions::Present,
    }
}

/// Of the present template, and paused by whatever it is.
fn held_rollout(service: &Service) -> Option<&Rollout> {
    service.rollout.as_ref().filter(|rollout| rollout.target == service.template_version).filter(
        |rollout| match rollout.state {
            RolloutState::Paused | RolloutState::RollbackPaused => true,
            RolloutState::Updating
            | RolloutState::Completed
            | RolloutState::RollbackStarted
            | RolloutState::RollbackCompleted => false,
        },
    )
}

impl Judge {
    #[must_use]
    pub fn new(goal: Goal, name: impl Into<String>) -> Self {
        Self {
            goal,
            name: name.into(),
            seasoned: None,
            full_since: None,
            blocked_since: None,
            given_up_since: None,
            empty_since: None,
        }
    }

    /// `elapsed`: since the command began. Never goes back.
    pub fn verdict(&mut self, snapshot: &Snapshot, elapsed: Duration) -> Verdict {
        let Some(service) = &snapshot.service else {
            return Verdict::Failed(format!(
                "service {} was removed before it was as asked; create it again if that was not meant",
                self.name
            ));
        };
        if service.version < self.goal.version {
            return Verdict::Going;
        }
        let serving = || snapshot.tasks.iter().filter(|task| task.is_serving()).map(|task| task.id.clone()).collect();
        self.seasoned.get_or_insert_with(serving);
        let views = slots::views(service, &snapshot.tasks, versions(self.goal.change, service));
        let full = views.iter().all(|view| matches!(view.phase, Phase::Running | Phase::Complete));
        match (self.stage(service), full) {
            (Stage::Moving, _) => Verdict::Going,
            (Stage::AwaitsPromotion(rollout), _) => Verdict::Converged(report::rollout(&service.spec.name, rollout)),
            (Stage::RolledBack(rollout), _) | (Stage::Halted(rollout), false) => {
                Verdict::Failed(report::rollout(&service.spec.name, rollout))
            }
            (Stage::Halted(_) | Stage::Monitored, true) => self.settled(service, &views, Duration::ZERO, elapsed),
            (Stage::Unwatched, true) => {
                let settle = self.settle(service, &views);
                self.settled(service, &views, settle, elapsed)
            }
            (Stage::ScaledWhileHeld(rollout), true) => {
                let settle = self.settle(service, &views);
                match self.settled(service, &views, settle, elapsed) {
                    Verdict::Converged(text) => Verdict::Converged(report::scaled_while_held(&text, service, rollout)),
                    other @ (Verdict::Going | Verdict::Failed(_)) => other,
                }
            }
            (Stage::Monitored | Stage::Unwatched | Stage::ScaledWhileHeld(_), false) => {
                self.stuck(service, &views, elapsed)
            }
        }
    }

    fn stage<'a>(&self, service: &'a Service) -> Stage<'a> {
        let Some(rollout) = service.rollout.as_ref().filter(|rollout| rollout.target == service.template_version)
        else {
            return Stage::Unwatched;
        };
        let ours = Some(rollout.started_at) != self.goal.rollout_before;
        match (rollout.state, self.goal.change) {
            (RolloutState::Paused | RolloutState::RollbackPaused, Change::Scale) => Stage::ScaledWhileHeld(rollout),
            (RolloutState::Updating | RolloutState::RollbackStarted, _) => Stage::Moving,
            (RolloutState::Paused, _) if rollout.awaits_promotion => Stage::AwaitsPromotion(rollout),
            (RolloutState::Paused | RolloutState::RollbackPaused, _) => Stage::Halted(rollout),
            (RolloutState::RollbackCompleted, Change::Spec | Change::Scale) if ours => Stage::RolledBack(rollout),
            (RolloutState::Completed | RolloutState::RollbackCompleted, _) if ours => Stage::Monitored,
            (RolloutState::Completed | RolloutState::RollbackCompleted, _) => Stage::Unwatched,
        }
    }

    /// How long the service must have been full before that is believed.
    fn settle(&self, service: &Service, views: &[SlotView<'_>]) -> Duration {
        let running = views.iter().filter(|view| view.phase == Phase::Running).filter_map(|view| view.task);
        let is_new = |task: &&Task| !self.seasoned.as_ref().is_some_and(|known| known.contains(&task.id));
        let new: Vec<&Task> = running.filter(is_new).collect();
        if new.is_empty() {
            return Duration::ZERO;
        }
        if new.iter().any(|task| task.failures > 0) {
            return SETTLE_AFTER_FAILURE;
        }
        match service.spec.task.container.health {
            HealthPolicy::Check(_) => Duration::ZERO,
            HealthPolicy::FromImage | HealthPolicy::Disabled => SETTLE,
        }
    }

    fn settled(&mut self, service: &Service, views: &[SlotView<'_>], settle: Duration, elapsed: Duration) -> Verdict {
        held(&mut self.blocked_since, false, elapsed);
        held(&mut self.given_up_since, false, elapsed);
        let is_empty = views.is_empty() && service.spec.mode == Mode::Global;
        match held(&mut self.empty_since, is_empty, elapsed) {
            Some(empty) if empty >= GLOBAL_EMPTY_MAX => return Verdict::Failed(report::no_nodes(&service.spec.name)),
            Some(_) => return Verdict::Going,
            None => {}
        }
        match held(&mut self.full_since, true, elapsed) {
            Some(full) if full >= settle => Verdict::Converged(report::converged(service, views)),
            Some(_) | None => Verdict::Going,
        }
    }

    fn stuck(&mut self, service: &Service, views: &[SlotView<'_>], elapsed: Duration) -> Verdict {
        held(&mut self.full_since, false, elapsed);
        held(&mut self.empty_since, false, elapsed);
        let has = |phase| slots::count(views, phase) > 0;
        let blocked = held(&mut self.blocked_since, has(Phase::Blocked), elapsed);
        let given_up = held(&mut self.given_up_since, has(Phase::GivenUp), elapsed);
        let fails = |view: &&SlotView<'_>| {
            view.phase == Phase::Underway && view.task.is_some_and(|task| task.failures >= FAILURES_MAX)
        };
        if let Some(view) = views.iter().find(fails) {
            Verdict::Failed(report::keeps_failing(&service.spec.name, view))
        } else if given_up.is_some_and(|span| span >= GIVEN_UP_AFTER) {
            Verdict::Failed(report::given_up(&service.spec.name, views))
        } else if blocked.is_some_and(|span| span >= BLOCKED_MAX) {
            Verdict::Failed(report::blocked(&service.spec.name, views))
        } else {
            Verdict::Going
        }
    }
}
