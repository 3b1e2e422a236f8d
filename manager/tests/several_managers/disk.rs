//! The host's disk, in such trouble as the test says.

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::BoxFuture;
use muster_manager::{
    StorageError,
    outside::{Commits, Disk, Durable, Files, Missing, SnapshotEvery, Space, Store},
};

#[derive(Default)]
pub(crate) struct Trouble {
    /// There is no room.
    pub(crate) full: AtomicBool,
    hangs: AtomicBool,
    /// Syncs of the log that do not return.
    hanging: Mutex<Vec<(Arc<dyn Commits>, Durable)>>,
}

impl fmt::Debug for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Trouble").field("full", &self.full).field("hangs", &self.hangs).finish_non_exhaustive()
    }
}

impl Trouble {
    /// From now on no sync of the log returns.
    pub(crate) fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    pub(crate) fn end_hanging(&self) {
        let mut hanging = self.hanging.lock().unwrap();
        self.hangs.store(false, Ordering::SeqCst);
        for (commits, durable) in hanging.drain(..) {
            commits.commit(durable);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Troubled {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) trouble: Arc<Trouble>,
    pub(crate) snapshot_every: SnapshotEvery,
}

impl Disk for Troubled {
    fn look(&self, dir: &Path, missing: Missing) -> Result<Arc<dyn Store>, StorageError> {
        self.disk.look(dir, missing)
    }

    fn open(&self, dir: &Path) -> Result<Arc<dyn Store>, StorageError> {
        self.disk.open(dir)
    }

    fn commits(&self, store: Arc<dyn Store>) -> io::Result<Box<dyn Commits>> {
        let commits = Arc::from(self.disk.commits(store)?);
        Ok(Box::new(TroubledCommits { commits, trouble: self.trouble.clone() }))
    }

    fn files(&self) -> Arc<dyn Files> {
        self.disk.files()
    }

    fn snapshot_every(&self) -> SnapshotEvery {
        self.snapshot_every
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        self.disk.block(work)
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let total_bytes = 1 << 40;
        let free_bytes = if self.trouble.full.load(Ordering::Relaxed) { 0 } else { total_bytes };
        Ok(Space { free_bytes, total_bytes })
    }
}

#[derive(Debug)]
struct TroubledCommits {
    commits: Arc<dyn Commits>,
    trouble: Arc<Trouble>,
}

impl Commits for TroubledCommits {
    fn commit(&self, durable: Durable) {
        let mut hanging = self.trouble.hanging.lock().unwrap();
        if self.trouble.hangs.load(Ordering::SeqCst) {
            hanging.push((self.commits.clone(), durable));
        } else {
            drop(hanging);
            self.commits.commit(durable);
        }
    }
}
