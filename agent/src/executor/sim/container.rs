//! One simulated container. What it is follows from when it was started and told to stop; nothing runs.

use std::time::Duration;

use muster_proto::{assignment::Assignment, id::TaskId, version::Fence};
use tokio::time::Instant;

use super::{
    super::{ContainerState, Exit, isolation_grace},
    script::{Health, Script},
};

const EXIT_SIGKILL: i32 = 137;

#[derive(Debug)]
pub(super) struct Container {
    pub(super) task_id: TaskId,
    pub(super) fence: Fence,
    pub(super) script: Script,
    pub(super) isolation_grace: Option<Duration>,
    started: Option<Instant>,
    end: Option<(Instant, Exit)>,
}

impl Container {
    pub(super) fn new(assignment: &Assignment, script: Script) -> Self {
        Self {
            task_id: assignment.task_id,
            fence: assignment.fence,
            script,
            isolation_grace: isolation_grace(assignment),
            started: None,
            end: None,
        }
    }

    /// Whether it was this call that started it. One that has ended runs again, as an engine's would.
    pub(super) fn start(&mut self, now: Instant) -> bool {
        if matches!(self.state(now), ContainerState::Running { .. }) {
            return false;
        }
        self.started = Some(now);
        self.end = self.script.exit.clone().map(|(after_ms, exit)| (now + Duration::from_millis(after_ms), exit));
        true
    }

    pub(super) fn stop(&mut self, now: Instant, grace: Duration) {
        let asked = Duration::from_millis(self.script.stop_ms);
        let (after, code) = if asked <= grace { (asked, 0) } else { (grace, EXIT_SIGKILL) };
        let at = now + after;
        // One that was never started has ended at once, and one that ends earlier by itself does.
        if self.started.is_none() {
            self.started = Some(now);
        }
        if self.end.as_ref().is_none_or(|(end, _)| *end > at) {
            self.end = Some((at, Exit { code, oom_killed: false, error: None }));
        }
    }

    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.end.as_ref().map(|(at, _)| *at)
    }

    pub(super) fn state(&self, now: Instant) -> ContainerState {
        match (&self.started, &self.end) {
            (None, _) => ContainerState::Created,
            (Some(_), Some((at, exit))) if *at <= now => ContainerState::Exited(exit.clone()),
            (Some(_), _) => ContainerState::Running { address: self.script.address },
        }
    }

    pub(super) fn is_healthy(&self, now: Instant) -> bool {
        let age = self.started.map(|started| now.saturating_duration_since(started));
        match (age, self.script.health) {
            (None, _) | (Some(_), Health::Fails) => false,
            (Some(_), Health::Passes) => true,
            (Some(age), Health::PassesFrom(ms)) => age >= Duration::from_millis(ms),
            (Some(age), Health::FailsFrom(ms)) => age < Duration::from_millis(ms),
        }
    }

    pub(super) fn log(&self, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        if self.started.is_some() {
            lines.push("simulated container started".to_owned());
            lines.extend(self.script.log.iter().cloned());
        }
        if let ContainerState::Exited(exit) = self.state(now) {
            lines.push(format!("simulated container ended with exit code {}", exit.code));
        }
        lines
    }
}
