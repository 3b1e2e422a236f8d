//! The life of one task: asks the machine for the next step and carries it out, until it is to be forgotten.
//!
//! The roster starts one for each assignment and is told nothing back: what there is to tell goes to the outbox. An
//! actor may be dropped at any await (the daemon stops); its container is left as it is and found again by its labels.

use std::sync::Arc;

use muster_proto::{
    assignment::Assignment, container::ContainerSpec, health::HealthCheck, id::TaskId, isolation::OnIsolation,
    task::TaskStatus, task_state::TaskState,
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep},
};
use tracing::debug;

use super::{
    context::Context,
    machine::{Phase, Step, Wanted, next},
    story::Story,
    verdict::{self, Doing, Verdict},
};
use crate::{
    executor::{ContainerId, ExecutorError},
    health,
    isolation::Guarded,
};

/// What the roster wants of an actor.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) assignment: Arc<Assignment>,
    /// The outages of the lease when a manager asked for it: a later one is for the managers to replace the task in,
    /// however long it waited for the disk. None: it was over then, or the task was read from disk.
    pub(crate) asked_after: Option<u64>,
    /// No manager knows the task any more.
    pub(crate) forget: bool,
}

impl Order {
    fn wanted(&self) -> Wanted {
        if self.forget { Wanted::Forget } else { self.assignment.desired.into() }
    }
}

/// How an actor begins.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each task, moved straight into its actor")]
pub(crate) enum Beginning {
    /// Just assigned: there can be no container of it, or preparing it finds the one that is there.
    New,
    /// Read from disk.
    Resumed { status: Option<TaskStatus>, image_health: Option<HealthCheck> },
}

/// What may be left of the task at the executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Leftover {
    Nothing,
    /// A preparation was broken off; whether it made a container is not known.
    Perhaps,
    Container(ContainerId),
}

#[derive(Debug)]
pub(crate) struct Actor {
    pub(super) context: Arc<Context>,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) phase: Phase,
    pub(super) story: Story,
    pub(super) leftover: Leftover,
    /// Of the container's process, or of this agent where it found it running.
    pub(super) started: Instant,
    /// When the task was taken out of the ingress to be stopped.
    pub(super) leaving_since: Instant,
    /// Output of the health check that condemned it.
    pub(super) unhealthy: Option<String>,
    /// Held from the preparation on, over a start that follows at once.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// Until it has ended, of a task that must not run in isolation.
    pub(super) guarded: Option<Guarded>,
    pub(super) asked_after: Option<u64>,
    /// Of those that it has nothing to do with any more: they were before it.
    pub(super) outages_before: u64,
}

/// Says when a task shall stop, whoever wants it to.
#[derive(Debug)]
pub(super) struct StopSignal {
    orders: watch::Receiver<Order>,
    /// Of a task that must not run in isolation: the outages, and how many of them do not count.
    outages: Option<(watch::Receiver<u64>, u64)>,
}

impl StopSignal {
    /// Returns when the task shall stop; never where it need not.
    pub(super) async fn given(&mut self) {
        let Self { orders, outages } = self;
        let ordered = async { orders.wait_for(|order| order.wanted().is_stop()).await.is_ok() };
        let cut_off = async {
            match outages {
                Some((outages, before)) => outages.wait_for(|count| count > before).await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let given = tokio::select! {
            given = ordered => given,
            given = cut_off => given,
        };
        if !given {
            // Whoever could want something has gone, and this actor with it.
            std::future::pending().await
        }
    }
}

impl Actor {
    pub(crate) fn new(context: Arc<Context>, orders: watch::Receiver<Order>, beginning: Beginning) -> Self {
        let Order { assignment, asked_after, forget: _ } = orders.borrow().clone();
        let (phase, status, image_health, outages_before) = match beginning {
            Beginning::New => (Phase::Accepted, None, None, asked_after.unwrap_or_default()),
            // Also that of before this agent began: a lease that is over when it begins.
            Beginning::Resumed { status, image_health } => (Phase::Unknown, status, image_health, 0),
        };
        // That of before this agent began is seen here, where nobody has looked yet.
        context.isolation.outages();
        let has_ended = status.as_ref().is_some_and(|status| status.state.is_final());
        let must_stop = assignment.template.spec.on_isolation == OnIsolation::Stop;
        let guarded = (must_stop && !has_ended).then(|| context.isolation.guard());
        let story = Story::begin(context.clone(), assignment, status, image_health);
        let now = Instant::now();
        Self {
            context,
            orders,
            phase,
            story,
            leftover: Leftover::Nothing,
            started: now,
            leaving_since: now,
            unhealthy: None,
            permit: None,
            guarded,
            asked_after,
            outages_before,
        }
    }

    /// Returns the task's id once nothing is left of it.
    pub(crate) async fn run(mut self) -> TaskId {
        loop {
            let order = self.orders.borrow_and_update().clone();
            let wanted = self.wanted();
            self.story.reassigned(order.assignment.clone());
            let step = next(wanted, self.phase);
            debug!(task = %order.assignment.task_id, phase = ?self.phase, ?wanted, ?step);
            if step != Step::Start {
                self.permit = None;
            }
            match step {
                Step::Find => self.find().await,
                Step::Prepare => self.prepare(&order.assignment).await,
                Step::Start => self.start().await,
                Step::Probe | Step::Watch => self.attend().await,
                Step::Drain => self.drain().await,
                Step::Stop => self.stop().await,
                Step::Cancel => self.cancel().await,
                Step::Remove => self.remove().await,
                Step::Wait => {
                    let mut stop = self.stop_signal();
                    tokio::select! {
                        changed = self.orders.changed() => if changed.is_err() {
                            // The roster has gone, and with it whoever could want something.
                            return order.assignment.task_id;
                        },
                        () = stop.given(), if !wanted.is_stop() => {}
                    }
                }
                Step::Finish => return order.assignment.task_id,
            }
        }
    }

    pub(super) fn assignment(&self) -> Arc<Assignment> {
        self.orders.borrow().assignment.clone()
    }

    pub(super) fn wanted(&self) -> Wanted {
        let ordered = self.orders.borrow().wanted();
        if self.is_cut_off() { ordered.max(Wanted::Isolated) } else { ordered }
    }

    /// Looks at the clock now: this agent may have been paused since it last ran.
    pub(super) fn is_cut_off(&self) -> bool {
        self.must_stop_in_isolation() && self.context.isolation.outages() > self.outages_before
    }

    pub(super) fn must_stop_in_isolation(&self) -> bool {
        self.orders.borrow().assignment.template.spec.on_isolation == OnIsolation::Stop
    }

    pub(super) fn stop_signal(&self) -> StopSignal {
        let outages = || (self.context.isolation.watch(), self.outages_before);
        StopSignal { orders: self.orders.clone(), outages: self.must_stop_in_isolation().then(outages) }
    }

    pub(super) fn task(&self) -> TaskId {
        self.orders.borrow().assignment.task_id
    }

    pub(super) fn spec(&self) -> ContainerSpec {
        self.orders.borrow().assignment.template.spec.container.clone()
    }

    /// The health check that holds for this task.
    pub(super) fn check(&self) -> Option<HealthCheck> {
        health::effective(&self.spec().health, self.story.image_health.as_ref())
    }

    /// Of a container whose making is behind us.
    pub(super) fn container(&self) -> Option<ContainerId> {
        match &self.leftover {
            Leftover::Container(container) => Some(container.clone()),
            Leftover::Nothing | Leftover::Perhaps => None,
        }
    }

    pub(super) fn holds(&mut self, leftover: Leftover) {
        self.leftover = leftover;
        self.context.directory.set(self.task(), self.container());
    }

    /// Pauses where the error asks for another try; None then. An order to stop ends the pause.
    pub(super) async fn judged(&mut self, doing: Doing, error: &ExecutorError, tries: u32) -> Option<Verdict> {
        match verdict::of_error(doing, error, tries) {
            Verdict::Retry(message) => {
                self.story.hindered(message);
                let pause = sleep(verdict::pause(tries));
                match doing {
                    Doing::Preparing | Doing::Starting | Doing::Watching => {
                        let mut stop = self.stop_signal();
                        tokio::select! {
                            () = stop.given() => {}
                            () = pause => {}
                        }
                    }
                    Doing::Stopping | Doing::Removing => pause.await,
                }
                None
            }
            verdict @ (Verdict::End(_) | Verdict::Gone) => Some(verdict),
        }
    }

    /// Words for a task that goes on after something was in its way.
    pub(super) fn recovered(&mut self) {
        let state = self.story.status.state;
        if state == TaskState::Running {
            self.story.recovered();
        }
    }
}
