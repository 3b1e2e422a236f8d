//! What all tasks of a node share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_proto::id::TaskId;
use tokio::sync::{Semaphore, watch};

use crate::{
    clock::Clock,
    executor::{ContainerId, Executor, Found},
    ingress,
    isolation::Isolation,
    session::reports::Outbox,
    store::Store,
};

/// Tasks that are prepared or started at the same time. Docker Engine starts four to five containers a second
/// whatever is asked of it at once; more than eight only make each one later, and fewer leave it idle.
const STARTS_MAX: usize = 8;

/// What the executor had when it was last asked; None until it could be.
pub(crate) type Census = watch::Receiver<Option<Arc<Vec<Found>>>>;

/// The containers of this node's tasks, for whoever reads logs.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    containers: Mutex<BTreeMap<TaskId, ContainerId>>,
}

impl Directory {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<TaskId, ContainerId>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, task: TaskId) -> Option<ContainerId> {
        self.locked().get(&task).cloned()
    }

    pub(super) fn set(&self, task: TaskId, container: Option<ContainerId>) {
        match container {
            Some(container) => self.locked().insert(task, container),
            None => self.locked().remove(&task),
        };
    }
}

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) ingress: ingress::Handle,
    pub(crate) outbox: Outbox,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) census: Census,
    pub(crate) isolation: Isolation,
    starts: Arc<Semaphore>,
}

impl Context {
    pub(crate) fn new(
        executor: Arc<dyn Executor>,
        ingress: ingress::Handle,
        store: Store,
        clock: Arc<dyn Clock>,
        census: Census,
        isolation: Isolation,
    ) -> Self {
        Self {
            executor,
            ingress,
            outbox: Outbox::default(),
            store,
            clock,
            directory: Arc::default(),
            census,
            isolation,
            starts: Arc::new(Semaphore::new(STARTS_MAX)),
        }
    }

    pub(super) fn starts(&self) -> Arc<Semaphore> {
        self.starts.clone()
    }
}
