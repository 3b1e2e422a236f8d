//! Snapshots as plain files.

use std::path::PathBuf;

/// A snapshot's file, complete or being received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    pub path: PathBuf,
}
