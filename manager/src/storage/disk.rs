//! The host's own disk: a journal for the log, plain files, threads for what blocks.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::BoxFuture;

use crate::{
    outside::{Commits, Disk, FileIn, FileOut, Files, Space},
    storage::{self, Missing, OpenError, commit::Committer, files, journal::Journal, store::Store},
};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HostDisk;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HostFiles;

impl Disk for HostDisk {
    fn look(&self, dir: &Path, missing: Missing) -> Result<Arc<dyn Store>, OpenError> {
        storage::require(dir, missing)?;
        storage::make_room(dir)?;
        Ok(Arc::new(Journal::look(dir)?))
    }

    fn open(&self, dir: &Path) -> Result<Arc<dyn Store>, OpenError> {
        Ok(Arc::new(Journal::open(dir)?))
    }

    fn commits(&self, store: Arc<dyn Store>) -> io::Result<Box<dyn Commits>> {
        Ok(Box::new(Committer::start(store)?))
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::new(HostFiles)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let found = nix::sys::statvfs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
        Ok(Space { free_bytes: bytes(found.blocks_available()), total_bytes: bytes(found.blocks()) })
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // A panic shows in what the work leaves undone, and in the log.
            let _ = tokio::task::spawn_blocking(work).await;
        })
    }
}

impl Files for HostFiles {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        match fs::read_dir(dir) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries?.map(|entry| entry.map(|entry| entry.path())).collect(),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileOut>> {
        Ok(Box::new(fs::File::create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FileIn>> {
        Ok(Box::new(fs::File::open(path)?))
    }

    fn bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn make_durable(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn make_names_durable(&self, dir: &Path) -> io::Result<()> {
        files::make_names_durable(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
