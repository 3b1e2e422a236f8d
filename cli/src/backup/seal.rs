//! The sealed file: what a backup is encrypted with, and how it is read back or refused.
//!
//! A header says how the key is made; then come chunks, each encrypted and authenticated on its own, so that a backup of
//! any size passes through a little memory (the STREAM construction: Hoang, Reyhanitabar, Rogaway, Vizár, 2015). A chunk's
//! nonce is its number and whether it is the last, and all are bound to the header: none can be left out, exchanged,
//! moved from another file or added.
//!
//! The key is made of a passphrase by PBKDF2-HMAC-SHA256, or of a key file by HKDF, both with a salt of this file's own.
//! A memory-hard function would cost a thief more; PBKDF2 is in ring, which is here anyway and well kept, and whoever
//! fears more than guessing uses a key file.
//!
//! Called by [`super::create`], [`super::restore`]; knows nothing of files, terminals or what a backup holds.

mod chunk;
mod header;
mod key;
#[cfg(test)]
mod tests;

use std::io;

pub(super) use chunk::{Opener, Sealer};
pub(super) use header::{Header, Kind};
pub(super) use key::Secret;

/// Why a file is not read. Each names what is wrong with it as far as that can be known.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("it is not a backup made by `muster backup`; name another file")]
    NoBackup,
    #[error(
        "it is a backup of format {found}, and this muster reads format {}; use the version of muster that made it",
        header::FORMAT
    )]
    Format { found: u16 },
    #[error("it was sealed with a key file; name that with --key-file")]
    WantsKeyFile,
    #[error("it was sealed with a passphrase; give that with --passphrase-file, MUSTER_PASSPHRASE or at the prompt")]
    WantsPassphrase,
    #[error("the passphrase is not the one it was sealed with; try again with the right one")]
    WrongPassphrase,
    #[error("the key file is not the one it was sealed with; name the right one")]
    WrongKeyFile,
    #[error("it ends too early: it is {0} bytes long and more was written; copy it again, or use another backup")]
    Truncated(u64),
    #[error("it is damaged near byte {0}: it is not as it was written; copy it again, or use another backup")]
    Damaged(u64),
    #[error("cannot read it: {0}; {next}", next = next_step(.0))]
    Io(#[from] io::Error),
}

fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "name the file that `muster backup` wrote",
        io::ErrorKind::IsADirectory => "name a file in that folder",
        io::ErrorKind::PermissionDenied => "run the command as a user who may read it",
        _ => "look at the disk it is on",
    }
}
