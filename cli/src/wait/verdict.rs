//! Whether a service is as asked, will be, or cannot be. Pure: a snapshot and the time since the command began go in.
//!
//! A moving rollout has its own deadline and failure action, so it is waited for. Without one nobody else would ever
//! say "this does not work", so the rules here do: a task that no node takes for [`BLOCKED_MAX`], a slot that failed
//! [`FAILURES_MAX`] times in a row or is not tried again within [`PAUSE_MAX`], a slot that is given up.

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
/// Who waits at a terminal waits no longer for the next attempt of a slot that failed.
pub const PAUSE_MAX: Duration = Duration::from_secs(60);
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
    /// Another spec: create, scale, update.
    Spec,
    /// The previous spec, by the user's own wish.
    Rollback,
}

/// What the command asked for.
#[derive(Clone, Debug)]
pub struct Goal {
    pub change: Change,
    /// Snapshots of an older version do not know of the change yet.
    pub version: u64,
    /// The rollout that the service had before the change, unless the change is that it goes on.
    pub rollout_before: Option<RolloutBefore>,
}

/// A rollout that was there before the change, and says nothing about it. Where it is the same one still, the change
/// began none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolloutBefore {
    /// Each has its own, one that is taken up again too.
    pub started_at: Timestamp,
    /// It goes on later, and is no reason not to have the rest meanwhile. One that was under way then is waited for.
    pub was_held: bool,
}

impl RolloutBefore {
    #[must_use]
    pub fn of(rollout: &Rollout) -> Self {
        Self { started_at: rollout.started_at, was_held: is_held(rollout.state) }
    }
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
    /// Before the change already: the replicas run what they ran, and new ones what the managers take for known to work.
    Held(&'a Rollout),
    Halted(&'a Rollout),
    /// As far as an update with canaries goes by itself.
    AwaitsPromotion(&'a Rollout),
    RolledBack(&'a Rollout),
    /// The rollout's monitor has watched its tasks already.
    Monitored,
    /// No rollout of this change.
    Unwatched,
}

/// Paused, by whatever it is.
fn is_held(state: RolloutState) -> bool {
    match state {
        RolloutState::Paused | RolloutState::RollbackPaused => true,
        RolloutState::Updating
        | RolloutState::Completed
        | RolloutState::RollbackStarted
        | RolloutState::RollbackCompleted => false,
    }
}

impl Goal {
    /// Which tasks the change waits for.
    #[must_use]
    pub fn versions(&self, service: &Service) -> Versions {
        match self.stage(service) {
            Stage::Held(_) => Versions::Any,
            Stage::Moving
            | Stage::Halted(_)
            | Stage::AwaitsPromotion(_)
            | Stage::RolledBack(_)
            | Stage::Monitored
            | Stage::Unwatched => Versions::Present,
        }
    }

    fn stage<'a>(&self, service: &'a Service) -> Stage<'a> {
        let Some(rollout) = service.rollout.as_ref().filter(|rollout| rollout.target == service.template_version)
        else {
            return Stage::Unwatched;
        };
        let same = self.rollout_before.filter(|before| before.started_at == rollout.started_at);
        let is_ours = same.is_none();
        match (rollout.state, self.change) {
            (RolloutState::Updating | RolloutState::RollbackStarted, _) => Stage::Moving,
            (RolloutState::Paused | RolloutState::RollbackPaused, _) if same.is_some_and(|before| before.was_held) => {
                Stage::Held(rollout)
            }
            (RolloutState::Paused, _) if rollout.awaits_promotion => Stage::AwaitsPromotion(rollout),
            (RolloutState::Paused | RolloutState::RollbackPaused, _) => Stage::Halted(rollout),
            (RolloutState::RollbackCompleted, Change::Spec) if is_ours => Stage::RolledBack(rollout),
            (RolloutState::Completed | RolloutState::RollbackCompleted, _) if is_ours => Stage::Monitored,
            (RolloutState::Completed | RolloutState::RollbackCompleted, _) => Stage::Unwatched,
        }
    }
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
        let views = slots::views(service, &snapshot.tasks, self.goal.versions(service));
        let full = views.iter().all(|view| matches!(view.phase, Phase::Running | Phase::Complete));
        match (self.goal.stage(service), full) {
            (Stage::Moving, _) => Verdict::Going,
            (Stage::AwaitsPromotion(rollout), _) => Verdict::Converged(report::rollout(&service.spec.name, rollout)),
            (Stage::RolledBack(rollout), _) | (Stage::Halted(rollout), false) => {
                Verdict::Failed(report::rollout(&service.spec.name, rollout))
            }
            (Stage::Halted(_) | Stage::Monitored, true) => self.settled(service, &views, Duration::ZERO, elapsed),
            (Stage::Unwatched, true) => {
                let settle = self.settle(&views);
                self.settled(service, &views, settle, elapsed)
            }
            (Stage::Held(rollout), full) => {
                let verdict = if full {
                    let settle = self.settle(&views);
                    self.settled(service, &views, settle, elapsed)
                } else {
                    self.stuck(service, &views, elapsed)
                };
                match verdict {
                    Verdict::Going => Verdict::Going,
                    Verdict::Converged(text) => Verdict::Converged(report::while_held(&text, service, rollout)),
                    Verdict::Failed(text) => Verdict::Failed(report::while_held(&text, service, rollout)),
                }
            }
            (Stage::Monitored | Stage::Unwatched, false) => self.stuck(service, &views, elapsed),
        }
    }

    /// How long the service must have been full before that is believed.
    fn settle(&self, views: &[SlotView<'_>]) -> Duration {
        let running = views.iter().filter(|view| view.phase == Phase::Running).filter_map(|view| view.task);
        let is_new = |task: &&Task| !self.seasoned.as_ref().is_some_and(|known| known.contains(&task.id));
        let new: Vec<&Task> = running.filter(is_new).collect();
        if new.is_empty() {
            return Duration::ZERO;
        }
        if new.iter().any(|task| task.failures > 0) {
            return SETTLE_AFTER_FAILURE;
        }
        // Each by its own check: under a held rollout the new ones may run the template before.
        let is_checked = |task: &&Task| match task.spec.container.health {
            HealthPolicy::Check(_) => true,
            HealthPolicy::FromImage | HealthPolicy::Disabled => false,
        };
        if new.iter().all(is_checked) { Duration::ZERO } else { SETTLE }
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
        let underway = || views.iter().filter(|view| view.phase == Phase::Underway);
        let fails = |view: &&SlotView<'_>| view.task.is_some_and(|task| task.failures_in_a_row() >= FAILURES_MAX);
        // The planner's own pauses are shorter.
        let is_long = |task: &&Task| task.spec.restart.delay.is_some_and(|delay| delay > PAUSE_MAX);
        let pause = |view: &SlotView<'_>| view.task.filter(is_long).and_then(Task::pause);
        if let Some(view) = underway().find(fails) {
            Verdict::Failed(report::keeps_failing(&service.spec.name, view))
        } else if let Some((view, until)) = underway().find_map(|view| Some((view, pause(view)?))) {
            Verdict::Failed(report::put_off(&service.spec.name, view, &until))
        } else if given_up.is_some_and(|span| span >= GIVEN_UP_AFTER) {
            Verdict::Failed(report::given_up(&service.spec.name, views))
        } else if blocked.is_some_and(|span| span >= BLOCKED_MAX) {
            Verdict::Failed(report::blocked(&service.spec.name, views))
        } else {
            Verdict::Going
        }
    }
}
