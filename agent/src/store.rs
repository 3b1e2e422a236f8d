//! What this node was assigned and how far each task has come, on disk before anything acts on it.
//!
//! One file for each task, so that damage stays with one task and an operator can read what is there. [`open`] reads
//! all of them once; after that [`Writer::run`] is the only one who writes, and gathers what waits into one batch:
//! every file of it is durable before any of its senders hears so. It knows nothing of containers or managers.

mod files;
pub(crate) mod kept;
mod sealed;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use muster_proto::{assignment::Assignment, health::HealthCheck, id::TaskId, task::TaskStatus};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

pub(crate) use files::StoreError;

use files::Files;

/// Writes that wait; a sender that finds no room waits too.
const QUEUE_MAX: usize = 256;
/// Writes made durable together.
const BATCH_MAX: usize = 256;

/// All that is kept of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) assignment: Arc<Assignment>,
    /// None until the task came somewhere that must outlast the daemon: Running, or its end.
    pub(crate) status: Option<TaskStatus>,
    /// What the image said of health checks when the container was made.
    pub(crate) image_health: Option<HealthCheck>,
}

/// What a task's actor has to keep.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) task_id: TaskId,
    pub(crate) status: Option<TaskStatus>,
    pub(crate) image_health: Option<HealthCheck>,
}

type Done = oneshot::Sender<Result<(), Arc<StoreError>>>;

#[derive(Debug)]
enum Write {
    Assign(Vec<Arc<Assignment>>, Done),
    Progress(Box<Progress>),
    Forget(TaskId),
}

/// Cheap to clone. The writer ends when the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    writes: mpsc::Sender<Write>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    files: Arc<Files>,
    writes: mpsc::Receiver<Write>,
    records: BTreeMap<TaskId, Record>,
}

/// Reads every record; blocking. Files that cannot be read are set aside and logged.
pub(crate) fn open(data_dir: &Path) -> Result<(Store, Writer, Vec<Record>), StoreError> {
    let (files, loaded) = Files::open(data_dir)?;
    let (sender, writes) = mpsc::channel(QUEUE_MAX);
    let records = loaded.iter().map(|record| (record.assignment.task_id, record.clone())).collect();
    Ok((Store { writes: sender }, Writer { files: Arc::new(files), writes, records }, loaded))
}

impl Store {
    /// Returns once all of them are durable.
    pub(crate) async fn assign(&self, assignments: Vec<Arc<Assignment>>) -> Result<(), Arc<StoreError>> {
        let (done, answer) = oneshot::channel();
        if self.writes.send(Write::Assign(assignments, done)).await.is_err() {
            return Err(Arc::new(StoreError::Closed));
        }
        answer.await.unwrap_or_else(|_gone| Err(Arc::new(StoreError::Closed)))
    }

    /// Returns before it is durable: what it says can be found out again from the container, if less exactly.
    pub(crate) async fn progress(&self, progress: Progress) {
        self.put(Write::Progress(Box::new(progress))).await;
    }

    pub(crate) async fn forget(&self, task: TaskId) {
        self.put(Write::Forget(task)).await;
    }

    async fn put(&self, write: Write) {
        if self.writes.send(write).await.is_err() {
            error!("the store has ended; a change to a task is not kept");
        }
    }
}

impl Writer {
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.writes.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let mut waiting = Vec::new();
            let touched = self.take_in(batch.drain(..), &mut waiting);
            let result = self.write(touched).await.map_err(Arc::new);
            if let Err(error) = &result {
                error!(%error, cause = ?std::error::Error::source(error), "what changed of the tasks is not kept");
            }
            for done in waiting {
                // Whoever asked may have been stopped meanwhile.
                let _ = done.send(result.clone());
            }
        }
    }

    fn take_in(&mut self, batch: impl Iterator<Item = Write>, waiting: &mut Vec<Done>) -> Vec<TaskId> {
        let mut touched = Vec::new();
        for write in batch {
            match write {
                Write::Assign(assignments, done) => {
                    for assignment in assignments {
                        touched.push(assignment.task_id);
                        self.records
                            .entry(assignment.task_id)
                            .and_modify(|r| r.assignment = assignment.clone())
                            .or_insert(Record { assignment, status: None, image_health: None });
                    }
                    waiting.push(done);
                }
                Write::Progress(progress) => {
                    let Progress { task_id, status, image_health } = *progress;
                    // Of a task that was forgotten meanwhile nothing is kept.
                    if let Some(record) = self.records.get_mut(&task_id) {
                        record.status = status;
                        record.image_health = image_health;
                        touched.push(task_id);
                    }
                }
                Write::Forget(task) => {
                    self.records.remove(&task);
                    touched.push(task);
                }
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    async fn write(&self, touched: Vec<TaskId>) -> Result<(), StoreError> {
        let changes: Vec<_> = touched.into_iter().map(|task| (task, self.records.get(&task).cloned())).collect();
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || files.write(&changes)).await {
            Ok(result) => result,
            Err(_panicked) => Err(StoreError::Closed),
        }
    }
}
