//! A copy of everything that a cluster needs to go on elsewhere: its state and its cluster key.
//!
//! ```text
//! magic (8) | format (4) | body | SHA-256 of all before it (32)
//! ```
//!
//! The body is MessagePack with names. Written by the leader behind a barrier, piece by piece; read by the daemon that
//! restores it. Secret: whoever has it can make nodes. It is sealed by the command line, which is where a passphrase is.

use std::io::{self, Write};

use muster_core::state::{
    State,
    snapshot::{Snapshot, SnapshotError},
};
use muster_proto::time::Timestamp;
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::ca::{ClusterKey, SealError};

/// Counted up when the version before could misread it.
pub const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"MSTRBKUP";
const HEADER_BYTES: usize = 12;
/// Of one message of the stream.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("this is no backup of a cluster; name the file that `muster backup` wrote")]
    NoBackup,
    #[error(
        "the backup has format {0} and this muster reads {FORMAT}; restore it with the version that wrote it, or a newer one"
    )]
    Format(u32),
    #[error("the backup is damaged or cut short; take another copy of it")]
    Damaged,
    #[error("what the backup holds makes no sense ({0}); take another one")]
    State(#[from] SnapshotError),
    #[error("the backup's cluster key cannot be used ({0}); take another one")]
    Key(#[from] SealError),
}

/// What a backup holds.
#[derive(Debug)]
pub struct Backup {
    pub state: State,
    pub cluster_key: ClusterKey,
    pub made_at: Timestamp,
}

#[derive(Serialize)]
struct BodyRef<'a> {
    made_at: Timestamp,
    muster_version: &'a str,
    cluster_key: &'a [u8],
    state: Snapshot,
}

#[derive(Deserialize)]
struct Body {
    made_at: Timestamp,
    cluster_key: Vec<u8>,
    state: Snapshot,
}

pub fn write(out: impl Write, state: &State, cluster_key: &ClusterKey, made_at: Timestamp) -> io::Result<()> {
    let mut out = Summed { out, sum: Context::new(&SHA256) };
    out.write_all(&MAGIC)?;
    out.write_all(&FORMAT.to_be_bytes())?;
    let body = BodyRef {
        made_at,
        muster_version: env!("CARGO_PKG_VERSION"),
        cluster_key: cluster_key.bytes(),
        state: Snapshot::of(state),
    };
    rmp_serde::encode::write_named(&mut out, &body).map_err(io::Error::other)?;
    let Summed { mut out, sum } = out;
    out.write_all(sum.finish().as_ref())?;
    out.flush()
}

/// Looks whether what passes through, in pieces, is a whole backup, without keeping it.
pub struct Whole {
    sum: Context,
    /// The last bytes, which are the sum where they are the last of all.
    end: Vec<u8>,
}

impl Default for Whole {
    fn default() -> Self {
        Self { sum: Context::new(&SHA256), end: Vec::new() }
    }
}

impl std::fmt::Debug for Whole {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Whole").finish_non_exhaustive()
    }
}

impl Whole {
    pub fn add(&mut self, bytes: &[u8]) {
        self.end.extend_from_slice(bytes);
        let before = self.end.len().saturating_sub(SHA256_OUTPUT_LEN);
        self.sum.update(&self.end[..before]);
        self.end.drain(..before);
    }

    #[must_use]
    pub fn is_whole(self) -> bool {
        self.sum.finish().as_ref() == self.end
    }
}

pub fn read(bytes: &[u8]) -> Result<Backup, BackupError> {
    let rest = bytes.strip_prefix(&MAGIC).ok_or(BackupError::NoBackup)?;
    let format = u32::from_be_bytes(*rest.first_chunk().ok_or(BackupError::Damaged)?);
    // Every format begins like this one, so that it can be told.
    if format != FORMAT {
        return Err(BackupError::Format(format));
    }
    let end = bytes.len().checked_sub(SHA256_OUTPUT_LEN).filter(|end| *end >= HEADER_BYTES);
    let (summed, sum) = bytes.split_at(end.ok_or(BackupError::Damaged)?);
    if ring::digest::digest(&SHA256, summed).as_ref() != sum {
        return Err(BackupError::Damaged);
    }
    let body: Body = rmp_serde::from_slice(&summed[HEADER_BYTES..]).map_err(|_| BackupError::Damaged)?;
    let cluster_key = ClusterKey::from_bytes(&body.cluster_key)?;
    Ok(Backup { state: body.state.into_state()?, cluster_key, made_at: body.made_at })
}

/// Sums what passes through.
struct Summed<W> {
    out: W,
    sum: Context,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Cuts what is written into pieces for a stream. Writing waits while the reader is slow, and fails once it is gone.
pub(crate) struct Pieces {
    out: mpsc::Sender<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
}

impl Pieces {
    pub(crate) fn new(out: mpsc::Sender<io::Result<Vec<u8>>>) -> Self {
        Self { out, piece: Vec::with_capacity(CHUNK_BYTES_MAX) }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES_MAX - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == CHUNK_BYTES_MAX {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(CHUNK_BYTES_MAX));
        self.out.blocking_send(Ok(piece)).map_err(|_gone| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (ClusterKey, Vec<u8>) {
        let (key, mut bytes) = (ClusterKey::generate().unwrap(), Vec::new());
        write(&mut bytes, &State::default(), &key, Timestamp::from_millis(7)).unwrap();
        (key, bytes)
    }

    #[test]
    fn what_was_written_is_read() {
        let (key, bytes) = written();
        let backup = read(&bytes).unwrap();
        assert_eq!(backup.state, State::default());
        assert_eq!((backup.cluster_key.bytes(), backup.made_at), (key.bytes(), Timestamp::from_millis(7)));
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let (_, bytes) = written();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "byte {at}");
            assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(matches!(read(&[bytes.as_slice(), b"x"].concat()), Err(BackupError::Damaged)));
        assert!(matches!(read(b"another file"), Err(BackupError::NoBackup)));
        let mut newer = bytes;
        newer[11] = 9;
        assert!(matches!(read(&newer), Err(BackupError::Format(9))));
    }

    #[test]
    fn a_whole_one_is_told_from_one_that_was_cut_whatever_the_pieces() {
        let (_, bytes) = written();
        let is_whole = |bytes: &[u8], piece: usize| {
            let mut whole = Whole::default();
            bytes.chunks(piece).for_each(|piece| whole.add(piece));
            whole.is_whole()
        };
        for piece in [1, 31, 32, 33, bytes.len()] {
            assert!(is_whole(&bytes, piece), "{piece}");
            assert!((0..bytes.len()).all(|end| !is_whole(&bytes[..end], piece)), "{piece}");
        }
    }

    #[test]
    fn pieces_are_bounded_and_make_up_the_whole() {
        let (sender, mut receiver) = mpsc::channel(16);
        let mut pieces = Pieces::new(sender);
        let whole: Vec<u8> = (0..CHUNK_BYTES_MAX * 2 + 5).map(|at| (at % 251) as u8).collect();
        pieces.write_all(&whole[..3]).unwrap();
        pieces.write_all(&whole[3..]).unwrap();
        pieces.flush().unwrap();
        drop(pieces);
        let mut heard = Vec::new();
        while let Some(piece) = receiver.blocking_recv() {
            let piece = piece.unwrap();
            assert!(piece.len() <= CHUNK_BYTES_MAX);
            heard.extend(piece);
        }
        assert!(heard == whole);
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        assert!(Pieces::new(sender).write_all(&whole).is_err());
    }
}
