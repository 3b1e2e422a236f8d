//! Assignments that are not on the disk yet. They wait here, so that a disk that is full holds up neither what shall stop
//! nor what clients are told; one write is under way at a time, with all that waited.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use muster_proto::{assignment::Assignment, id::TaskId};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::store::{Store, StoreError};

/// Between two tries to write assignments to a disk that refuses them.
const RETRY: Duration = Duration::from_secs(1);

/// Whether the task's actor knows of it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acted {
    Already,
    /// It will be told that it was asked for after so many outages; see [`crate::task::actor::Order`].
    NotYet {
        asked_after: Option<u64>,
    },
}

/// A write that has ended.
pub(super) struct Written {
    batch: Vec<Arc<Assignment>>,
    pub(super) result: Result<(), Arc<StoreError>>,
}

#[derive(Debug, Default)]
pub(super) struct Intake {
    /// The newest of each task.
    waiting: BTreeMap<TaskId, (Arc<Assignment>, Acted)>,
    /// One at the most.
    under_way: JoinSet<Written>,
    not_before: Option<Instant>,
}

impl Intake {
    pub(super) fn get(&self, task: TaskId) -> Option<&Assignment> {
        self.waiting.get(&task).map(|(assignment, _)| &**assignment)
    }

    pub(super) fn tasks(&self) -> Vec<TaskId> {
        self.waiting.keys().copied().collect()
    }

    pub(super) fn put(&mut self, assignment: Arc<Assignment>, acted: Acted) {
        self.waiting.insert(assignment.task_id, (assignment, acted));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether there was one: it may be on its way to the disk.
    pub(super) fn forget(&mut self, task: TaskId) -> bool {
        self.waiting.remove(&task).is_some()
    }

    /// Pending while there is nothing to write. Cancel-safe.
    pub(super) async fn written(&mut self, store: &Store) -> Written {
        if self.under_way.is_empty() {
            if self.waiting.is_empty() {
                return std::future::pending().await;
            }
            if let Some(not_before) = self.not_before {
                sleep_until(not_before).await;
                self.not_before = None;
            }
            let batch = self.waiting.values().map(|(assignment, _)| assignment.clone()).collect();
            self.under_way.spawn(write(store.clone(), batch));
        }
        let written = match self.under_way.join_next().await {
            Some(Ok(written)) => written,
            Some(Err(_)) | None => Written { batch: Vec::new(), result: Err(Arc::new(StoreError::Closed)) },
        };
        if written.result.is_err() {
            self.not_before = Some(Instant::now() + RETRY);
        }
        written
    }

    /// Those of a write that actors have yet to hear of. One that a newer took the place of waits on.
    pub(super) fn settle(&mut self, batch: Vec<Arc<Assignment>>) -> Vec<(Arc<Assignment>, Option<u64>)> {
        let mut unheard = Vec::new();
        for assignment in batch {
            let Some((waiting, acted)) = self.waiting.get(&assignment.task_id) else { continue };
            if !Arc::ptr_eq(waiting, &assignment) {
                continue;
            }
            match acted {
                Acted::Already => {}
                Acted::NotYet { asked_after } => unheard.push((assignment.clone(), *asked_after)),
            }
            self.waiting.remove(&assignment.task_id);
        }
        unheard
    }
}

impl Written {
    pub(super) fn into_batch(self) -> Vec<Arc<Assignment>> {
        self.batch
    }
}

async fn write(store: Store, batch: Vec<Arc<Assignment>>) -> Written {
    let result = store.assign(batch.clone()).await;
    Written { batch, result }
}
