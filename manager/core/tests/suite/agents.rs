//! Fake agents: each carries out its node's assignments, at the pace and with the end that the task's image says.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use muster_core::{assign, state::State};
use muster_proto::{
    assignment::{Assignment, TaskReport},
    id::{NodeId, ServiceId, TaskId},
    isolation::OnIsolation,
    task::{Slot, TaskStatus},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    version::Fence,
};

/// How containers of an image behave.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) prepare: Duration,
    /// None: never becomes ready.
    pub(crate) start: Option<Duration>,
    pub(crate) exit: Option<(Duration, i32)>,
    pub(crate) stop: Duration,
    /// Cannot be prepared at all.
    pub(crate) refused: bool,
    /// How long after a failure its node tells of it.
    pub(crate) late: Duration,
}

impl Default for Image {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Self {
            prepare: millis(200),
            start: Some(millis(300)),
            exit: None,
            stop: millis(500),
            refused: false,
            late: Duration::ZERO,
        }
    }
}

/// A container that is there, as its host knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) task: TaskId,
    pub(crate) service: ServiceId,
    pub(crate) slot: Slot,
    pub(crate) fence: Fence,
    pub(crate) on_isolation: OnIsolation,
    pub(crate) has_volume: bool,
}

#[derive(Clone, Debug)]
struct Container {
    service: ServiceId,
    slot: Slot,
    has_volume: bool,
    fence: Fence,
    desired: DesiredState,
    status: TaskStatus,
    image: String,
    on_isolation: OnIsolation,
    /// When the next step is due, and what it leads to.
    next: Option<(Timestamp, TaskState)>,
    /// When what is new is told; None: there is nothing.
    told_at: Option<Timestamp>,
}

/// All nodes' agents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agents {
    pub(crate) images: BTreeMap<String, Image>,
    containers: BTreeMap<NodeId, BTreeMap<TaskId, Container>>,
}

impl Agents {
    fn image(&self, name: &str) -> Image {
        self.images.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.containers.keys().copied().collect()
    }

    /// The node's assignments arrive.
    pub(crate) fn hear(&mut self, state: &State, node: NodeId, now: Timestamp) {
        let assignments = assign::assignments(state, node);
        let mut held = self.containers.remove(&node).unwrap_or_default();
        held.retain(|task, _| assignments.contains_key(task));
        for (id, assignment) in &assignments {
            let image = self.image(&assignment.template.spec.container.image);
            let row = state.task(*id).expect("an assigned task has a row");
            let container = held.entry(*id).or_insert_with(|| Container {
                service: row.service_id,
                slot: row.slot,
                has_volume: row.template.spec.container.mounts.iter().any(|mount| mount.is_exclusive()),
                fence: assignment.fence,
                desired: assignment.desired,
                status: TaskStatus::new(TaskState::Accepted, now, "accepted"),
                image: assignment.template.spec.container.image.clone(),
                on_isolation: assignment.template.spec.on_isolation,
                next: None,
                told_at: Some(now),
            });
            container.follow(assignment, &image, now);
        }
        self.containers.insert(node, held);
    }

    /// The steps that are due at `now` are taken.
    pub(crate) fn step(&mut self, node: NodeId, now: Timestamp) {
        let images = self.images.clone();
        for container in self.containers.get_mut(&node).into_iter().flat_map(BTreeMap::values_mut) {
            let image = images.get(&container.image).cloned().unwrap_or_default();
            container.step(&image, now);
        }
    }

    pub(crate) fn next_step(&self, node: NodeId) -> Option<Timestamp> {
        let held = self.containers.get(&node)?.values();
        held.flat_map(|container| container.next.map(|(at, _)| at).into_iter().chain(container.told_at)).min()
    }

    /// What the node has not told yet, and tells now.
    pub(crate) fn reports(&mut self, node: NodeId, now: Timestamp) -> Vec<TaskReport> {
        let mut reports = Vec::new();
        for (task_id, container) in self.containers.get_mut(&node).into_iter().flatten() {
            if container.told_at.take_if(|at| *at <= now).is_some() {
                let status = container.status.clone();
                reports.push(TaskReport { task_id: *task_id, fence: container.fence, status });
            }
        }
        reports
    }

    /// The host starts anew: everything that ran has ended.
    pub(crate) fn reboot(&mut self, node: NodeId, now: Timestamp) {
        for container in self.containers.get_mut(&node).into_iter().flat_map(BTreeMap::values_mut) {
            if !container.status.state.is_final() {
                container.enter(TaskState::Failed, now);
                container.status.error = Some("the host was restarted".to_owned());
                container.next = None;
            }
        }
    }

    /// The node's lease has run out: what asked for it is told to stop.
    pub(crate) fn isolate(&mut self, node: NodeId, now: Timestamp) {
        let images = self.images.clone();
        for container in self.containers.get_mut(&node).into_iter().flat_map(BTreeMap::values_mut) {
            if container.on_isolation == OnIsolation::Stop {
                container.desired = container.desired.max(DesiredState::Shutdown);
                let image = images.get(&container.image).cloned().unwrap_or_default();
                container.set_out(&image, now);
            }
        }
    }

    /// One container ends by itself.
    pub(crate) fn crash(&mut self, node: NodeId, task: TaskId, code: i32, now: Timestamp) {
        if let Some(container) = self.containers.get_mut(&node).and_then(|held| held.get_mut(&task))
            && !container.status.state.is_final()
        {
            container.enter(if code == 0 { TaskState::Complete } else { TaskState::Failed }, now);
            container.status.exit_code = Some(code);
            container.next = None;
        }
    }

    /// Tasks whose container is there, ready or not, as the hosts know it.
    pub(crate) fn at_work(&self) -> impl Iterator<Item = Work> + '_ {
        self.containers.values().flatten().filter_map(|(task, container)| {
            let at_work = (TaskState::Starting..=TaskState::Running).contains(&container.status.state);
            let &Container { service, slot, fence, on_isolation, has_volume, .. } = container;
            at_work.then_some(Work { task: *task, service, slot, fence, on_isolation, has_volume })
        })
    }

    /// The clock went forward by itself: what is under way takes as long as before.
    pub(crate) fn skip(&mut self, gap: Duration) {
        for container in self.containers.values_mut().flat_map(BTreeMap::values_mut) {
            let next = container.next.as_mut().map(|(at, _)| at);
            next.into_iter().chain(&mut container.told_at).for_each(|at| *at = *at + gap);
        }
    }

    /// Tasks whose container is ready, as the hosts know it.
    pub(crate) fn running(&self) -> impl Iterator<Item = (NodeId, TaskId, Fence)> + '_ {
        self.containers.iter().flat_map(|(node, held)| {
            let running = held.iter().filter(|(_, container)| container.status.state == TaskState::Running);
            running.map(|(task, container)| (*node, *task, container.fence))
        })
    }
}

impl Container {
    fn enter(&mut self, state: TaskState, now: Timestamp) {
        self.status.state = state;
        self.status.at = now;
        self.status.message = state.to_string().to_lowercase();
        self.told_at = Some(now);
        if state == TaskState::Running {
            self.status.running_at = Some(now);
            self.status.address = Some(IpAddr::from([10, 0, 0, 1]));
        }
    }

    fn follow(&mut self, assignment: &Assignment, image: &Image, now: Timestamp) {
        // What was stopped in isolation stays so.
        self.desired = self.desired.max(assignment.desired);
        if self.desired == DesiredState::Remove && self.status.state.is_final() && !self.status.removed {
            self.status.removed = true;
            self.told_at = Some(now);
        }
        self.set_out(image, now);
    }

    /// Decides on the next step where none is under way, or where the present one is not wanted any more.
    fn set_out(&mut self, image: &Image, now: Timestamp) {
        let stops = self.desired > DesiredState::Running && !self.status.state.is_final();
        if stops {
            if !matches!(self.next, Some((_, TaskState::Shutdown))) {
                let pause = if self.status.state >= TaskState::Starting { image.stop } else { Duration::ZERO };
                self.next = Some((now + pause, TaskState::Shutdown));
            }
            return;
        }
        if self.next.is_some() {
            return;
        }
        self.next = match self.status.state {
            TaskState::Accepted if image.refused => Some((now + image.prepare, TaskState::Rejected)),
            TaskState::Accepted => Some((now + image.prepare, TaskState::Ready)),
            TaskState::Ready if self.desired == DesiredState::Running => Some((now, TaskState::Starting)),
            TaskState::Starting => match (image.start, image.exit) {
                (Some(start), _) => Some((now + start, TaskState::Running)),
                (None, Some((after, code))) => Some((now + after, ended(code))),
                (None, None) => None,
            },
            // What dies before it is ready does so then and not later.
            TaskState::Running => image.start.and(image.exit).map(|(after, code)| (now + after, ended(code))),
            TaskState::New
            | TaskState::Pending
            | TaskState::Assigned
            | TaskState::Preparing
            | TaskState::Ready
            | TaskState::Complete
            | TaskState::Shutdown
            | TaskState::Failed
            | TaskState::Rejected
            | TaskState::Orphaned => None,
        };
    }

    fn step(&mut self, image: &Image, now: Timestamp) {
        while let Some((at, state)) = self.next.filter(|(at, _)| *at <= now) {
            self.next = None;
            self.enter(state, at);
            match state {
                TaskState::Rejected => self.status.error = Some("no such image".to_owned()),
                TaskState::Failed => {
                    self.status.exit_code = image.exit.map(|(_, code)| code);
                    self.told_at = Some(at + image.late);
                }
                TaskState::Complete => self.status.exit_code = Some(0),
                TaskState::Shutdown if self.desired == DesiredState::Remove => self.status.removed = true,
                TaskState::New
                | TaskState::Pending
                | TaskState::Assigned
                | TaskState::Accepted
                | TaskState::Preparing
                | TaskState::Ready
                | TaskState::Starting
                | TaskState::Running
                | TaskState::Shutdown
                | TaskState::Orphaned => {}
            }
            self.set_out(image, at);
        }
    }
}

fn ended(code: i32) -> TaskState {
    if code == 0 { TaskState::Complete } else { TaskState::Failed }
}
