//! The logs of a service, gathered from the nodes that run its tasks.
//!
//! Called by `Control.ServiceLogs`; reads each task's log through its node's session. Runs as the caller reads: a slow
//! reader holds the agents back by credit (see [`crate::dispatcher::log_streams`]), and nothing is dropped. What cannot
//! be had is said in a notice line. Deliberately does not know what a log line contains.

mod source;

use std::{collections::BTreeSet, time::Duration};

use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use muster_core::state::State;
use muster_proto::{
    id::TaskId,
    task::Task,
    task_state::{DesiredState, TaskState},
    v1,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    control::LogScope,
    dispatcher::{log_streams::Options, sessions::Sessions},
    manager::Handle,
    pace::Pace,
    replica::Replica,
    streams::stopping,
};

/// How soon a new task's log is opened.
const INTERVAL: Duration = Duration::from_millis(50);
/// Logs read for one caller; each holds a few chunks.
const TASKS_MAX: usize = 512;

pub(crate) struct Relay {
    scope: LogScope,
    options: Options,
    timestamps: Timestamps,
    replica: Replica,
    sessions: Sessions,
    pace: Pace,
    stop: CancellationToken,
    opened: BTreeSet<TaskId>,
    sources: SelectAll<BoxStream<'static, v1::LogLine>>,
    next: Next,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timestamps {
    Shown,
    Hidden,
}

/// What the relay does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Looks for tasks and reads what is open.
    Follow,
    /// Reads what is open to its end.
    Finish,
    End,
}

/// What there is to be read now.
struct Look {
    /// With a log and not opened yet.
    new: Vec<Subject>,
    /// Tasks of the scope at all.
    tasks: usize,
    service_exists: bool,
}

/// Whose log it is.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) task: TaskId,
    pub(crate) name: String,
    pub(crate) node: muster_proto::id::NodeId,
}

impl Relay {
    pub(crate) fn new(
        handle: &Handle,
        scope: LogScope,
        wanted: &v1::ServiceLogsRequest,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let v1::ServiceLogsRequest { follow, tail, since, timestamps, .. } = *wanted;
        let service = scope.service;
        Self {
            scope,
            options: Options { follow, tail, since },
            timestamps: if timestamps { Timestamps::Shown } else { Timestamps::Hidden },
            replica: handle.replica.clone(),
            sessions: handle.sessions.clone(),
            pace: Pace::new(handle.replica.watch(), INTERVAL, move |touched| touched.services.contains(&service)),
            stop: handle.streams.stop().clone(),
            opened: BTreeSet::new(),
            sources: SelectAll::new(),
            next: Next::Follow,
            _place: place,
        }
    }

    pub(crate) fn stream(self) -> impl Stream<Item = Result<v1::LogLine, Status>> + Send {
        stream::unfold(self, |mut relay| async move { relay.line().await.map(|line| (line, relay)) })
    }

    async fn line(&mut self) -> Option<Result<v1::LogLine, Status>> {
        loop {
            if self.next == Next::End || (self.next == Next::Finish && self.sources.is_empty()) {
                return None;
            }
            tokio::select! {
                () = self.stop.cancelled() => {
                    self.next = Next::End;
                    return Some(Err(stopping()));
                }
                line = self.sources.next(), if !self.sources.is_empty() => {
                    // None: that was the end of the last of them.
                    let Some(mut line) = line else { continue };
                    if self.timestamps == Timestamps::Hidden {
                        line.timestamp.clear();
                    }
                    return Some(Ok(line));
                }
                () = self.pace.changed(), if self.next == Next::Follow => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let look = self.replica.read(|state| look(state, &self.scope, &self.opened));
        let room = TASKS_MAX.saturating_sub(self.opened.len());
        if look.new.len() > room && room > 0 {
            self.notice(format!("more than {TASKS_MAX} tasks have logs; name a task to read one of the others"));
        }
        for subject in look.new.into_iter().take(room) {
            self.opened.insert(subject.task);
            self.sources.push(source::open(&self.sessions, subject, self.options).boxed());
        }
        if self.opened.is_empty() && !self.options.follow {
            self.notice(match look.tasks {
                0 => "the service has no tasks, so there are no logs".to_owned(),
                _ => "no task has started yet, so there are no logs; `muster service ps` says why".to_owned(),
            });
        }
        let nothing_to_come = (look.tasks == 0 && !look.service_exists)
            || self.scope.task.is_some_and(|only| self.opened.contains(&only));
        if !self.options.follow || nothing_to_come {
            self.next = Next::Finish;
        }
    }

    fn notice(&mut self, text: String) {
        let line = v1::LogLine { text: format!("{text}\n").into_bytes(), notice: true, ..v1::LogLine::default() };
        self.sources.push(stream::iter([line]).boxed());
    }
}

fn look(state: &State, scope: &LogScope, opened: &BTreeSet<TaskId>) -> Look {
    let new = scope.tasks(state).filter(|task| !opened.contains(&task.id)).filter_map(subject).collect();
    Look { new, tasks: scope.tasks(state).count(), service_exists: state.service(scope.service).is_some() }
}

/// None while there is nothing to read: no container, or one that has not been started.
fn subject(task: &Task) -> Option<Subject> {
    let status = &task.status;
    let started = status.running_at.is_some() || (status.container_id.is_some() && status.state >= TaskState::Starting);
    let kept = task.desired < DesiredState::Remove || !status.state.is_final();
    match task.node_id {
        Some(node) if started && kept && !status.removed => Some(Subject { task: task.id, name: task.name(), node }),
        Some(_) | None => None,
    }
}
