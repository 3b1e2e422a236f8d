//! Why a manager's folder was refused. The text is what the user reads.

use std::{
    io,
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Of a host that is a member.
    #[error(
        "the store {} is missing; {}",
        path.display(),
        go_on(path)
    )]
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
        "the store in {} is damaged: {what}; {}",
        path.display(),
        go_on(path)
    )]
    Damaged { path: PathBuf, what: String },
}

/// An old copy of a store would take back votes and acknowledgements that others count on: where there are others, a
/// manager begins anew. Without the membership that is recorded beside it a store is of no use, so that the two go
/// together.
fn go_on(store: &Path) -> String {
    let folder = store.parent().unwrap_or(store).display();
    format!(
        "where the cluster has other managers, run `muster node rm --force` for this node on one of them, move the data \
         folder {folder} away and join again with a token; where this was the only one, move it away and restore a \
         backup with `muster restore`, or begin anew with `muster init`"
    )
}

impl OpenError {
    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        OpenError::Damaged { path: path.to_owned(), what: what.into() }
    }
}
