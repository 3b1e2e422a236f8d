//! Snapshots as plain files, named by the last entry they hold. The newest two are kept: where the newest cannot be
//! read, the log still reaches back to the one before.
//!
//! A file is written under another name, synced and renamed, so that what has the right name is whole; a checksum finds
//! what the disk did to it later. The log is purged up to the one before the newest, once the newest has been saved: see
//! [`crate::compaction`].

mod format;
pub(crate) mod travel;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_core::state::State;

pub(crate) use self::travel::{Chunks, Incoming};
use crate::{
    outside::{Disk, Files},
    raft::{LogId, SnapshotMeta},
    snapshots::format::ReadError,
    storage::{OpenError, files},
};

const KEPT: usize = 2;
const SUFFIX: &str = "snapshot";

/// A snapshot's file: saved here, or being received from another manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
}

#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) meta: SnapshotMeta,
    pub(crate) path: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Snapshots {
    disk: Arc<dyn Disk>,
    files: Arc<dyn Files>,
    dir: PathBuf,
    newest: Mutex<Option<Saved>>,
    /// The state of the newest at open, until the state machine takes it.
    opened: Mutex<Option<State>>,
    received: AtomicU64,
}

impl Snapshots {
    /// `purged`: entries up to it are in no log any more, so some snapshot must hold them.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: PathBuf, purged: Option<LogId>) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable { path: dir.clone(), source };
        let files = disk.files();
        let mut opened = None;
        let mut unread = None;
        for path in newest_first(&*files, &dir).map_err(unusable)? {
            match format::read(&*files, &path) {
                Ok((meta, state)) => {
                    opened = Some((Saved { meta, path }, state));
                    break;
                }
                Err(ReadError::Io(source)) => return Err(unusable(source)),
                Err(ReadError::Format(found)) => {
                    return Err(OpenError::Format { path: dir, found, known: format::FORMAT });
                }
                Err(why @ (ReadError::Damaged(_) | ReadError::State(_))) => {
                    tracing::warn!(path = %path.display(), %why, "a snapshot is damaged; trying the one before");
                    unread = Some(format!("its snapshot {} {why}", file_name(&path)));
                }
            }
        }
        let reaches = opened.as_ref().and_then(|(saved, _)| saved.meta.last_log_id);
        if reaches < purged {
            let what = unread.unwrap_or_else(|| "the snapshot that its log goes on from is gone".to_owned());
            return Err(OpenError::damaged(dir.parent().unwrap_or(&dir), what));
        }
        // Nothing before this line changes anything: a store that is refused stays as it was.
        files.make_dir(&dir).and_then(|()| remove_unfinished(&*files, &dir)).map_err(unusable)?;
        let (newest, state) = opened.unzip();
        let (newest, opened) = (Mutex::new(newest), Mutex::new(state));
        Ok(Self { disk, files, dir, newest, opened, received: AtomicU64::new(0) })
    }

    pub(crate) fn newest(&self) -> Option<Saved> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The state that was read at open; once.
    pub(crate) fn take_opened(&self) -> Option<State> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Blocks until it is on the disk.
    pub(crate) fn save(&self, meta: SnapshotMeta, state: &State) -> io::Result<Saved> {
        let path = self.path_of(&meta);
        let temporary = files::unfinished(&path);
        format::write(&*self.files, &temporary, &meta, state)?;
        self.files.finish(&temporary, &path)?;
        self.adopt(Saved { meta, path })
    }

    /// Where a snapshot that is about to be received goes.
    pub(crate) fn receive(self: &Arc<Self>) -> Incoming {
        Incoming::new(self.disk.clone(), self.begin_receiving())
    }

    pub(crate) fn begin_receiving(&self) -> SnapshotFile {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        SnapshotFile { path: self.dir.join(format!("received-{number}.{}", files::UNFINISHED)) }
    }

    /// The bytes of one of ours, for another manager.
    pub(crate) fn chunks(&self, file: &SnapshotFile) -> Chunks {
        Chunks::new(self.disk.clone(), file.path.clone())
    }

    /// Does work that blocks: reading, writing, waiting for the disk.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let this = self.clone();
        self.disk.run(move || work(&this)).await
    }

    /// Whether a received snapshot has arrived whole, in a format that is known here.
    pub(crate) fn check(&self, file: &SnapshotFile) -> io::Result<()> {
        format::check(&*self.files, &file.path).map(|_| ()).map_err(ReadError::into_io)
    }

    /// Blocks until a received snapshot is on the disk as one of ours; returns its state.
    pub(crate) fn install(&self, file: &SnapshotFile) -> io::Result<(SnapshotMeta, State)> {
        let (meta, state) = format::read(&*self.files, &file.path).map_err(ReadError::into_io)?;
        let path = self.path_of(&meta);
        if file.path.parent() == Some(&self.dir) {
            self.files.finish(&file.path, &path)?;
        } else {
            let temporary = files::unfinished(&path);
            io::copy(&mut self.files.open(&file.path)?, &mut self.files.create(&temporary)?)?;
            self.files.finish(&temporary, &path)?;
        }
        self.adopt(Saved { meta: meta.clone(), path })?;
        Ok((meta, state))
    }

    fn adopt(&self, saved: Saved) -> io::Result<Saved> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.as_ref().is_none_or(|newest| newest.meta.last_log_id <= saved.meta.last_log_id) {
            *newest = Some(saved.clone());
        }
        for old in newest_first(&*self.files, &self.dir)?.into_iter().skip(KEPT) {
            self.files.remove(&old)?;
        }
        Ok(saved)
    }

    fn path_of(&self, meta: &SnapshotMeta) -> PathBuf {
        let (index, term) = meta.last_log_id.map_or((0, 0), |last| (last.index, last.leader_id.term));
        // Padded, so that the order of names is the order of snapshots.
        self.dir.join(format!("{index:020}-{term:010}.{SUFFIX}"))
    }
}

fn newest_first(files: &dyn Files, dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = files.list(dir)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == SUFFIX));
    paths.sort_unstable_by(|a, b| b.cmp(a));
    Ok(paths)
}

/// What a crash left half-written.
fn remove_unfinished(files: &dyn Files, dir: &Path) -> io::Result<()> {
    for path in files.list(dir)? {
        if path.extension().is_some_and(|extension| extension == files::UNFINISHED) {
            files.remove(&path)?;
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
