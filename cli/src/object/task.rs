//! A task as the daemon tells it.

use muster_proto::{
    endpoint::PortConfig,
    task::{Slot, TaskSpec, TaskStatus},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    v1,
    waiting::WaitingOn,
};

use super::{missing, unreadable};
use crate::{error::Error, format::text::one_line};

#[derive(Clone, Debug)]
pub struct Task {
    pub id: String,
    pub version: u64,
    pub created_at: Timestamp,
    pub service_id: String,
    pub service_name: String,
    pub slot: Slot,
    pub template_version: u64,
    pub spec: TaskSpec,
    pub host_ports: Vec<PortConfig>,
    pub node_id: Option<String>,
    pub desired: DesiredState,
    pub status: TaskStatus,
    pub start_after: Option<Timestamp>,
    /// Why it has no node, or is not released; the planner's own words.
    pub waiting: Option<String>,
    /// Failures in a row before this attempt.
    pub failures: u32,
    /// The node that another of its slot is to run on before this one stops.
    pub moves_to: Option<String>,
}

impl Task {
    /// `web.3`, or `web.<node id>` in a global service.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}.{}", self.service_name, self.slot)
    }

    /// Wanted to run, now or once released, and not ended.
    #[must_use]
    pub fn is_active(&self) -> bool {
        match self.desired {
            DesiredState::Ready | DesiredState::Running => !self.status.state.is_final(),
            DesiredState::Shutdown | DesiredState::Remove => false,
        }
    }

    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.status.state == TaskState::Running && self.is_active()
    }

    /// It has no node, and not because it is not yet its turn.
    #[must_use]
    pub fn blocked_by(&self) -> Option<&str> {
        let waiting = self.waiting.as_deref()?;
        let is_its_turn = self.start_after.is_none() && waiting != WaitingOn::Predecessor.to_string();
        (self.is_active() && self.node_id.is_none() && is_its_turn).then_some(waiting)
    }

    /// It failed, and another is made once what it waits for is over; as opposed to one whose restarts are used up.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        let used_up =
            self.spec.restart.max_attempts.map(|max| WaitingOn::RestartsUsedUp { max_attempts: max }.to_string());
        self.status.state.is_failure() && self.waiting.is_some() && self.waiting != used_up
    }

    /// This one too, where another follows it.
    #[must_use]
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures.saturating_add(u32::from(self.is_followed()))
    }

    /// What the next attempt waits for, where this is a failed one that waits for it or the next itself.
    #[must_use]
    pub fn pause(&self) -> Option<String> {
        match (self.is_followed(), self.start_after) {
            (true, _) => self.waiting.clone(),
            (false, Some(until)) if self.failures > 0 && self.desired == DesiredState::Ready && self.is_active() => {
                Some(WaitingOn::RestartDelay { until }.to_string())
            }
            (false, Some(_) | None) => None,
        }
    }

    /// Of one that is over.
    #[must_use]
    pub fn how_it_went(&self) -> &'static str {
        if self.status.state.is_failure() { "failed" } else { "ended" }
    }

    /// What went wrong with it, in the fullest words there are.
    #[must_use]
    pub fn failure(&self) -> &str {
        self.status.error.as_deref().unwrap_or(&self.status.message)
    }

    /// What went wrong, or what it waits for: docker's ERROR column.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.status.error.as_deref().filter(|error| !error.is_empty()).or(match self.is_active() {
            true => self.waiting.as_deref(),
            false => None,
        })
    }
}

impl TryFrom<v1::Task> for Task {
    type Error = Error;

    fn try_from(task: v1::Task) -> Result<Self, Error> {
        let desired = task.desired().try_into().map_err(|why| unreadable("a task's desired state", why))?;
        let slot = task.slot.ok_or_else(|| missing("a task's slot"))?;
        let spec = task.spec.ok_or_else(|| missing("a task's spec"))?;
        let status = task.status.ok_or_else(|| missing("a task's status"))?;
        let status: TaskStatus = status.try_into().map_err(|why| unreadable("a task's status", why))?;
        Ok(Self {
            id: task.id,
            version: task.version,
            created_at: Timestamp::from_millis(task.created_at),
            service_id: task.service_id,
            service_name: task.service_name,
            slot: slot.try_into().map_err(|why| unreadable("a task's slot", why))?,
            template_version: task.template_version,
            spec: spec.try_into().map_err(|why| unreadable("a task's spec", why))?,
            host_ports: super::service::ports(task.host_ports)?,
            node_id: task.node_id,
            desired,
            // What a container wrote may be part of them.
            status: TaskStatus {
                message: one_line(&status.message),
                error: status.error.as_deref().map(one_line),
                ..status
            },
            start_after: task.start_after.map(Timestamp::from_millis),
            waiting: task.waiting.as_deref().map(one_line),
            failures: task.failures,
            moves_to: task.moves_to,
        })
    }
}

pub fn all(tasks: Vec<v1::Task>) -> Result<Vec<Task>, Error> {
    tasks.into_iter().map(Task::try_from).collect()
}
