//! A first opening of the log, on a copy.
//!
//! Sled mends what it opens: it cuts off what does not add up and writes on behind the cut. A store that is refused must
//! stay byte for byte as it was, for whoever can still get something out of it. So sled meets the log in a copy first,
//! and opens the log itself only once nothing in the copy was missing. The log is bounded (see [`crate::compaction`]),
//! and so is the time that this takes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    raft::LogId,
    storage::{
        error::OpenError,
        files::UNFINISHED,
        log,
        sled::{LOG, SledStore, survive},
    },
};

/// Refuses a log that is not whole; says up to where it was purged otherwise.
pub(super) fn check(dir: &Path) -> Result<Option<LogId>, OpenError> {
    SledStore::check_files(dir)?;
    let copy = Copy::of(&dir.join(LOG)).map_err(|source| match source.kind() {
        io::ErrorKind::StorageFull => OpenError::Full { path: dir.to_owned() },
        _ => OpenError::Unusable { path: dir.to_owned(), source },
    })?;
    // Some damage shows only when sled reads, and then in a panic as well.
    survive(dir, || log::check_all(&SledStore::open_copy(dir, &copy.0)?, dir))
}

/// Removed when dropped; what a crash leaves is removed before the next copy is made.
struct Copy(PathBuf);

impl Copy {
    fn of(log: &Path) -> io::Result<Self> {
        let copy = Self(log.with_extension(UNFINISHED));
        copy.remove()?;
        copy_folder(log, &copy.0)?;
        Ok(copy)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(why) = self.remove() {
            tracing::warn!(path = %self.0.display(), error = %why, "the copy of the log could not be removed");
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(from, to)?;
        }
    }
    Ok(())
}
