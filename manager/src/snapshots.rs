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
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_core::state::State;

pub(crate) use self::travel::{Chunks, Incoming};
use crate::{
    outside::{Disk, Files},
    raft::{LogId, SnapshotMeta},
    room,
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
    /// One that was received and is on the disk, until the state machine takes it.
    kept: Mutex<Option<Kept>>,
    received: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    file: SnapshotFile,
    meta: SnapshotMeta,
    state: State,
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
        // Before this line nothing goes but what was half-written: a store that is refused stays as it was.
        files.make_dir(&dir).and_then(|()| remove_unfinished(&*files, &dir)).map_err(unusable)?;
        let (newest, state) = opened.unzip();
        let (newest, opened) = (Mutex::new(newest), Mutex::new(state));
        Ok(Self { disk, files, dir, newest, opened, kept: Mutex::default(), received: AtomicU64::new(0) })
    }

    pub(crate) fn newest(&self) -> Option<Saved> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The state that was read at open; once.
    pub(crate) fn take_opened(&self) -> Option<State> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Blocks until it is on the disk. Where there is no room nothing of it stays: what is left is the log's.
    pub(crate) fn save(&self, meta: SnapshotMeta, state: &State) -> io::Result<Saved> {
        self.require_room(self.newest().map_or(0, |newest| self.files.bytes(&newest.path).unwrap_or(0)))?;
        let path = self.path_of(&meta);
        let temporary = files::unfinished(&path);
        let written = format::write(&*self.files, &temporary, &meta, state);
        if let Err(why) = written.and_then(|()| self.files.finish(&temporary, &path)) {
            if let Err(stays) = self.files.remove(&temporary)
                && stays.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %temporary.display(), error = %stays, "an unfinished snapshot stays behind");
            }
            return Err(why);
        }
        self.adopt(Saved { meta, path })
    }

    /// Whether so many bytes more leave what must stay free.
    pub(crate) fn require_room(&self, bytes: u64) -> io::Result<()> {
        // A disk that cannot be asked will say more when it is written to.
        match self.disk.space(&self.dir) {
            Ok(space) if !room::is_left_beside(space, bytes) => Err(io::ErrorKind::StorageFull.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(crate) fn bytes(&self, file: &SnapshotFile) -> io::Result<u64> {
        self.files.bytes(&file.path)
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

    /// Looks whether a received snapshot has arrived whole and can be read here, and blocks until it is on the disk under
    /// its own name. That comes before anything else is done about it: openraft lets go of the log up to it at once, and
    /// what it holds is committed, so that it serves whatever becomes of its installation.
    pub(crate) fn keep(&self, received: &SnapshotFile, offered: &SnapshotMeta) -> io::Result<SnapshotFile> {
        let (meta, state) = format::read(&*self.files, &received.path).map_err(ReadError::into_io)?;
        if meta != *offered {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the snapshot is not the one that was offered"));
        }
        let file = SnapshotFile { path: self.path_of(&meta) };
        self.files.finish(&received.path, &file.path)?;
        *self.kept() = Some(Kept { file: file.clone(), meta, state });
        Ok(file)
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody wanted what was kept last; it stays on the disk. Takes as long as a large state takes to be taken apart.
    pub(crate) fn forget_kept(&self) {
        drop(self.kept().take());
    }

    /// Blocks until a snapshot is on the disk as the newest of ours; returns its state.
    pub(crate) fn install(&self, file: &SnapshotFile) -> io::Result<(SnapshotMeta, State)> {
        let kept = self.kept().take_if(|kept| kept.file == *file);
        let (meta, state) = match kept {
            Some(Kept { meta, state, .. }) => (meta, state),
            None => format::read(&*self.files, &file.path).map_err(ReadError::into_io)?,
        };
        let path = self.path_of(&meta);
        if file.path != path {
            // Of another folder.
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
pub(crate) fn remove_unfinished(files: &dyn Files, dir: &Path) -> io::Result<()> {
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
