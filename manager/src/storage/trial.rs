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

use crate::storage::{
    error::OpenError,
    files::UNFINISHED,
    sled::{LOG, SledStore, survive},
    store::{Pair, Store, Write},
};

/// The log's copy. Its folder goes when this does.
#[derive(Debug)]
pub(super) struct Trial {
    // Before the folder, so that it is closed by then.
    store: SledStore,
    _copy: Copy,
}

impl Trial {
    pub(super) fn of(dir: &Path) -> Result<Self, OpenError> {
        let copy = Copy::of(&dir.join(LOG)).map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull => OpenError::Full { path: dir.to_owned() },
            _ => OpenError::Unusable { path: dir.to_owned(), source },
        })?;
        let store = survive(dir, || SledStore::open_copy(dir, &copy.0))?;
        Ok(Self { store, _copy: copy })
    }
}

impl Store for Trial {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.store.get(key)
    }

    fn range(&self, from: &[u8], to: &[u8], bytes_max: usize) -> io::Result<Vec<Pair>> {
        self.store.range(from, to, bytes_max)
    }

    fn keys(&self, from: &[u8], to: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.store.keys(from, to)
    }

    fn write(&self, _batch: Vec<Write>) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn make_durable(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// Removed when dropped; what a crash leaves is removed before the next copy is made.
#[derive(Debug)]
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
