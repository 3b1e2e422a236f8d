//! What this crate's own tests share: surroundings that stand still, objects as the daemon tells them, and a daemon that
//! is none.

pub(crate) mod fake;
pub(crate) mod objects;
mod round_trips;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use muster_proto::time::Timestamp;

use crate::surroundings::Surroundings;

/// 2026-11-22T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_305_600_000);

#[derive(Debug, Default)]
pub(crate) struct Fixed {
    variables: BTreeMap<String, String>,
    files: BTreeMap<PathBuf, String>,
}

impl Fixed {
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(PathBuf::from(path), text.to_owned());
        self
    }
}

impl Surroundings for Fixed {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
