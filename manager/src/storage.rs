//! The manager's folder: the Raft log and the vote in a store, snapshots as files beside it.
//!
//! What was acknowledged is never silently missing: a marker file says that a store must be here, a watermark how far
//! it must reach, a checksum and a number on every record that it is whole. What does not add up is refused at start,
//! and left as it was.
//!
//! ```text
//! manager/STORE       marker: the format of everything here; written last when the folder is made
//! manager/log/        see [`journal`]
//! manager/watermark   how far the log was durable, see [`watermark`]
//! manager/snapshots/  see [`crate::snapshots`]
//! ```

pub(crate) mod commit;
pub(crate) mod disk;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod record;
pub(crate) mod store;
mod watermark;

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use error::OpenError;

use crate::{
    outside::Disk,
    snapshots::{Snapshots, remove_unfinished},
    storage::{disk::HostFiles, journal::Journal, log::Log},
};

/// Of the folder: names, layout of the records, snapshot files. Entries carry a format of their own.
pub(crate) const FORMAT: u32 = 2;

const MARKER: &str = "STORE";
const MARKER_FIRST_LINE: &str = "muster store";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Make a store where there is none.
    Create,
    Refuse,
}

#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) log: Log,
    pub(crate) snapshots: Arc<Snapshots>,
}

/// Looks first, and changes nothing of a store that is refused, but for what was half-written.
pub(crate) fn open(disk: &Arc<dyn Disk>, dir: &Path, missing: Missing) -> Result<Opened, OpenError> {
    let look = disk.look(dir, missing)?;
    let purged = log::check_all(&*look, dir)?;
    drop(look);
    let snapshots = Snapshots::open(disk.clone(), dir.join("snapshots"), purged)?;
    let store = disk.open(dir)?;
    let commits = disk.commits(store.clone());
    let commits = commits.map_err(|source| OpenError::Unusable { path: dir.to_owned(), source })?;
    Ok(Opened { log: Log::open(store, commits, dir)?, snapshots: Arc::new(snapshots) })
}

/// Refuses a folder without a store that can be opened, or makes one.
fn require(dir: &Path, missing: Missing) -> Result<(), OpenError> {
    let marker = dir.join(MARKER);
    let found = match fs::read(&marker) {
        Ok(text) => Some(read_marker(dir, &String::from_utf8_lossy(&text))?),
        Err(why) if why.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(OpenError::Unusable { path: dir.to_owned(), source }),
    };
    match (found, missing) {
        (Some(FORMAT), Missing::Create | Missing::Refuse) => {}
        (Some(found), Missing::Create | Missing::Refuse) => {
            return Err(OpenError::Format { path: dir.to_owned(), found, known: FORMAT });
        }
        (None, Missing::Refuse) if !dir.join(journal::LOG).exists() => {
            return Err(OpenError::Missing { path: dir.to_owned() });
        }
        (None, Missing::Refuse) => return Err(OpenError::damaged(dir, journal::MARKER_GONE)),
        (None, Missing::Create) => create(dir)?,
    }
    files::check_writable(dir).map_err(|source| OpenError::Unusable { path: dir.to_owned(), source })
}

/// Removes what is of no use to anybody.
fn make_room(dir: &Path) -> Result<(), OpenError> {
    let removed = remove_unfinished(&HostFiles, &dir.join("snapshots"));
    removed.map_err(|source| OpenError::Unusable { path: dir.to_owned(), source })
}

/// Makes the folder, or completes one whose making was cut short before anything could be stored in it.
fn create(dir: &Path) -> Result<(), OpenError> {
    let unusable = |source| OpenError::Unusable { path: dir.to_owned(), source };
    // The state holds what only managers may know.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    fs::create_dir_all(dir.join("snapshots")).map_err(unusable)?;
    Journal::create(dir)?;
    let text = format!("{MARKER_FIRST_LINE}\nformat {FORMAT}\n");
    files::write_durably(&dir.join(MARKER), text.as_bytes()).map_err(unusable)?;
    dir.parent().map_or(Ok(()), files::make_names_durable).map_err(unusable)
}

fn read_marker(dir: &Path, text: &str) -> Result<u32, OpenError> {
    let mut lines = text.lines();
    let format = match (lines.next(), lines.next().and_then(|line| line.strip_prefix("format "))) {
        (Some(MARKER_FIRST_LINE), Some(format)) => format.parse().ok(),
        _ => None,
    };
    format.ok_or_else(|| OpenError::damaged(dir, format!("its file {MARKER} is not what muster wrote")))
}

pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("manager")
}

#[cfg(test)]
mod tests;
