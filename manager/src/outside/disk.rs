//! What a manager needs of a disk: a store for its log, files for its snapshots, and somebody to wait for both.

use std::{
    fmt::Debug,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::storage::{Missing, OpenError, commit::Durable, store::Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

pub trait Disk: Debug + Send + Sync + 'static {
    /// A first look at the store in the folder: a copy, where opening it could change it. Makes an empty one where
    /// there is none and `missing` says so.
    fn look(&self, dir: &Path, missing: Missing) -> Result<Arc<dyn Store>, OpenError>;

    /// The store itself, after what [`Disk::look`] showed was found to be whole.
    fn open(&self, dir: &Path) -> Result<Arc<dyn Store>, OpenError>;

    /// Who makes the writes to that store durable.
    fn commits(&self, store: Arc<dyn Store>) -> io::Result<Box<dyn Commits>>;

    fn files(&self) -> Arc<dyn Files>;

    /// How much of the log this disk takes between two snapshots.
    fn snapshot_every(&self) -> SnapshotEvery {
        SnapshotEvery::default()
    }

    /// Does work that blocks, where it holds up nobody.
    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;

    /// Of the disk that holds a folder. A disk that does not say is never full.
    fn space(&self, _dir: &Path) -> io::Result<Space> {
        Ok(Space { free_bytes: u64::MAX, total_bytes: u64::MAX })
    }
}

/// Whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEvery {
    pub entries: u64,
    /// Of entries. The log holds up to three times this, the disk a few times as much, and a start reads it twice.
    pub bytes: u64,
}

impl Default for SnapshotEvery {
    fn default() -> Self {
        Self { entries: 5_000, bytes: 16 << 20 }
    }
}

impl dyn Disk {
    /// As [`Disk::block`], with the work's result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (tell, told) = oneshot::channel();
        // Nobody waits for it any more where it cannot be told.
        self.block(Box::new(move || drop(tell.send(work())))).await;
        told.await.unwrap_or_else(|_| Err(io::Error::other("the work on the disk was cut short")))
    }
}

/// Makes writes durable in the order they were made, off the runtime's threads.
pub trait Commits: Debug + Send + Sync + 'static {
    /// Calls `durable` once everything written before this call is. Openraft has a handful of them under way at most.
    fn commit(&self, durable: Durable);
}

/// Files that are whole or not there, whatever moment the power fails.
pub trait Files: Debug + Send + Sync + 'static {
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// The paths of a folder's files; none where there is no folder.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileOut>>;

    fn open(&self, path: &Path) -> io::Result<Box<dyn FileIn>>;

    fn bytes(&self, path: &Path) -> io::Result<u64>;

    /// Blocks until what was written to the file survives power loss.
    fn make_durable(&self, path: &Path) -> io::Result<()>;

    /// Blocks until the names in the folder survive power loss.
    fn make_names_durable(&self, dir: &Path) -> io::Result<()>;

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file that was written under a temporary name its own.
    fn finish(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        self.make_durable(temporary)?;
        self.rename(temporary, path)?;
        path.parent().map_or(Ok(()), |dir| self.make_names_durable(dir))
    }
}

pub trait FileIn: Read + Seek + Send {}
impl<T: Read + Seek + Send> FileIn for T {}

pub trait FileOut: Write + Seek + Send {}
impl<T: Write + Seek + Send> FileOut for T {}
