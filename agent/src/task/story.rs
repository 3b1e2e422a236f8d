//! What is told of one task: its status, which only grows. The one place that changes it, reports it and has it kept.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_proto::{
    assignment::{Assignment, TaskReport},
    health::HealthCheck,
    restart::RestartPolicy,
    task::{Evidence, TaskStatus},
    task_state::TaskState,
};
use tokio::time::Instant;
use tracing::info;

use super::{context::Context, ending::Ending};
use crate::{executor::ContainerId, session::reports::Place, store::Progress, words::cut};

/// Pause between two reports of one task that differ in their words only, such as how far a pull has come.
const CHATTER_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Story {
    context: Arc<Context>,
    assignment: Arc<Assignment>,
    pub(super) status: TaskStatus,
    pub(super) image_health: Option<HealthCheck>,
    /// When words alone were last reported.
    chatted: Mutex<Option<Instant>>,
}

impl Story {
    /// Tells at once what was kept from before, or that the assignment is on disk.
    pub(super) fn begin(
        context: Arc<Context>,
        assignment: Arc<Assignment>,
        status: Option<TaskStatus>,
        image_health: Option<HealthCheck>,
    ) -> Self {
        let status = status.unwrap_or_else(|| TaskStatus::new(TaskState::Accepted, context.clock.now(), "accepted"));
        let story = Self { context, assignment, status, image_health, chatted: Mutex::new(None) };
        story.report(story.status.clone());
        story
    }

    /// A manager that lost its log names a task anew; from now on it is told under the new fence.
    pub(super) fn reassigned(&mut self, assignment: Arc<Assignment>) {
        let newer = assignment.fence > self.assignment.fence;
        self.assignment = assignment;
        if newer {
            self.report(self.status.clone());
        }
    }

    fn report(&self, status: TaskStatus) {
        let report = TaskReport { task_id: self.assignment.task_id, fence: self.assignment.fence, status };
        self.context.outbox.put(self.place(), report);
    }

    fn place(&self) -> Place {
        (self.assignment.service_id, self.assignment.slot)
    }

    /// To a later state; nothing where the task is there already or beyond.
    pub(super) fn advance(&mut self, state: TaskState, message: impl Into<String>) {
        if !self.status.state.may_become(state) {
            return;
        }
        self.status.state = state;
        self.status.at = self.context.clock.now();
        self.status.message = cut(message.into(), TaskStatus::MESSAGE_BYTES_MAX);
        if !state.is_final() {
            self.status.error = None;
        }
        self.report(self.status.clone());
    }

    pub(super) async fn running(&mut self) {
        if !self.status.state.may_become(TaskState::Running) {
            return;
        }
        self.status.running_at = Some(self.context.clock.now());
        self.advance(TaskState::Running, "running");
        self.keep().await;
    }

    pub(super) fn container(&mut self, container: &ContainerId, address: Option<IpAddr>) {
        self.status.container_id = Some(container.0.clone());
        self.status.address = address;
    }

    /// Words about the present state, of which only the last matter: told no faster than anyone reads.
    pub(super) fn chat(&self, message: String) {
        let mut chatted = self.chatted.lock().unwrap_or_else(PoisonError::into_inner);
        if self.status.state.is_final() || chatted.is_some_and(|at| at.elapsed() < CHATTER_PAUSE) {
            return;
        }
        *chatted = Some(Instant::now());
        let message = cut(message, TaskStatus::MESSAGE_BYTES_MAX);
        self.report(TaskStatus { message, ..self.status.clone() });
    }

    /// What hinders the task, until it gets further or [`Story::recovered`].
    pub(super) fn hindered(&mut self, error: String) {
        let error = Some(cut(error, TaskStatus::MESSAGE_BYTES_MAX));
        if !self.status.state.is_final() && self.status.error != error {
            self.status.error = error;
            self.report(self.status.clone());
        }
    }

    pub(super) fn recovered(&mut self) {
        if !self.status.state.is_final() && self.status.error.take().is_some() {
            self.report(self.status.clone());
        }
    }

    /// The end, with what a failure leaves for those who ask why. Says it once.
    pub(super) async fn end(&mut self, ending: Ending, log_tail: Vec<String>) {
        if self.status.state.is_final() {
            return;
        }
        let state = ending.state;
        self.status.error = ending.error.map(|error| cut(error, TaskStatus::MESSAGE_BYTES_MAX));
        self.status.exit_code = ending.exit_code;
        self.status.address = None;
        if self.was_stable() {
            self.context.outbox.ran_stably(self.place());
        } else if self.is_failure(state) {
            self.context.outbox.crashed(self.place());
        }
        if self.is_failure(state) {
            let (health, oom_killed) = (ending.health, ending.oom_killed);
            self.status.evidence = Some(Box::new(Evidence { log_tail, health, oom_killed }));
        }
        info!(task = %self.assignment.task_id, %state, error = self.status.error.as_deref(), "task ended");
        self.advance(state, ending.message);
        self.keep().await;
    }

    /// Whether the task has failed that ends so: only of that anything is kept for those who ask why.
    pub(super) fn is_failure(&self, state: TaskState) -> bool {
        state.failed_by_itself(self.assignment.template.spec.restart.condition)
    }

    /// Its managers forget failures before a run of this length, and so does the outbox.
    fn was_stable(&self) -> bool {
        let ran = self.status.running_at.map(|since| self.context.clock.now().since(since));
        ran.is_some_and(|ran| ran >= RestartPolicy::STABLE_AFTER)
    }

    /// No container of it is left.
    pub(super) async fn removed(&mut self) {
        if self.status.removed {
            return;
        }
        self.status.removed = true;
        self.report(self.status.clone());
        self.keep().await;
    }

    /// Has what must outlast the daemon written down.
    pub(super) async fn keep(&self) {
        let lasting = self.status.state >= TaskState::Running;
        let progress = Progress {
            task_id: self.assignment.task_id,
            status: lasting.then(|| self.status.clone()),
            image_health: self.image_health.clone(),
        };
        self.context.store.progress(progress).await;
    }
}
