//! Why a manager's folder was refused. The text is what the user reads.

use std::{
    io,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("there is no cluster in {}; run `muster init` to make one", path.display())]
    Missing { path: PathBuf },
    #[error(
        "the folder {} cannot be used ({source}); give the daemon's user the right to read and write it, or choose another with --data-dir",
        path.display()
    )]
    Unusable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "another muster daemon uses {}; stop it, or choose another folder with --data-dir",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error(
        "the store in {} was written by format {found}, this muster reads {known}; run the muster version that wrote it",
        path.display()
    )]
    Format { path: PathBuf, found: u32, known: u32 },
    #[error(
        "the log in {} has an entry of format {found}, this muster reads {known}; run the muster version that wrote it",
        path.display()
    )]
    LogFormat { path: PathBuf, found: u16, known: u16 },
    #[error(
        "the store in {} is damaged: {what}; put back a copy of the folder, or move it away and run `muster init` for a new cluster",
        path.display()
    )]
    Damaged { path: PathBuf, what: String },
}

impl OpenError {
    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        OpenError::Damaged { path: path.to_owned(), what: what.into() }
    }
}
