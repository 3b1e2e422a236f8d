//! The bytes of a snapshot file:
//!
//! ```text
//! magic (8) | format (4) | meta length (4) | body length (8) | checksum of meta and body (4) | checksum so far (4)
//! meta | body
//! ```
//!
//! Both MessagePack with names: openraft's account of what the snapshot holds, and the state's tables.

use std::{
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use muster_core::state::{
    State,
    snapshot::{Snapshot, SnapshotError},
};

use crate::{
    outside::{FileIn, Files},
    raft::SnapshotMeta,
};

pub(super) const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"MSTRSNAP";
const HEADER_BYTES: usize = 32;
/// Membership of a few managers; a longer one is damage that would otherwise cost memory.
const META_BYTES_MAX: u32 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(io::Error),
    #[error("was written by format {0}, this muster reads {FORMAT}")]
    Format(u32),
    #[error("{0}")]
    Damaged(&'static str),
    #[error("does not make sense: {0}")]
    State(SnapshotError),
}

impl From<io::Error> for ReadError {
    fn from(why: io::Error) -> Self {
        match why.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Damaged("is cut short"),
            _ => ReadError::Io(why),
        }
    }
}

impl ReadError {
    pub(super) fn into_io(self) -> io::Error {
        match self {
            ReadError::Io(why) => why,
            ReadError::Format(_) | ReadError::Damaged(_) | ReadError::State(_) => {
                io::Error::new(io::ErrorKind::InvalidData, format!("the snapshot {self}"))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    meta_bytes: u32,
    body_bytes: u64,
    checksum: u32,
}

impl Header {
    fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_be_bytes());
        bytes.extend(self.meta_bytes.to_be_bytes());
        bytes.extend(self.body_bytes.to_be_bytes());
        bytes.extend(self.checksum.to_be_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes.try_into().expect("the fields fill the header")
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, ReadError> {
        let number = |from: usize| u32::from_be_bytes(bytes[from..from + 4].try_into().expect("four bytes"));
        if bytes[..8] != MAGIC || number(28) != crc32fast::hash(&bytes[..28]) {
            return Err(ReadError::Damaged("does not add up"));
        }
        // Every format begins like this one, so that it can be told.
        if number(8) != FORMAT {
            return Err(ReadError::Format(number(8)));
        }
        let body_bytes = u64::from_be_bytes(bytes[16..24].try_into().expect("eight bytes"));
        let header = Self { meta_bytes: number(12), body_bytes, checksum: number(24) };
        if header.meta_bytes > META_BYTES_MAX { Err(ReadError::Damaged("does not add up")) } else { Ok(header) }
    }
}

/// Written, not yet synced.
pub(super) fn write(files: &dyn Files, path: &Path, meta: &SnapshotMeta, state: &State) -> io::Result<()> {
    let mut out = Summed::new(BufWriter::new(files.create(path)?));
    out.inner.write_all(&[0; HEADER_BYTES])?;
    rmp_serde::encode::write_named(&mut out, meta).map_err(io::Error::other)?;
    let meta_bytes = u32::try_from(out.bytes).map_err(io::Error::other)?;
    rmp_serde::encode::write_named(&mut out, &Snapshot::of(state)).map_err(io::Error::other)?;
    let (body_bytes, checksum) = (out.bytes - u64::from(meta_bytes), out.hasher.finalize());
    let mut file = out.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&Header { meta_bytes, body_bytes, checksum }.encode())
}

/// Opens a file and sums it: what a decoder makes of damage is anyone's guess.
pub(super) fn check(files: &dyn Files, path: &Path) -> Result<(Box<dyn FileIn>, Header), ReadError> {
    let mut file = files.open(path).map_err(ReadError::Io)?;
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header)?;
    let header = Header::decode(&header)?;
    let expected = HEADER_BYTES as u64 + u64::from(header.meta_bytes) + header.body_bytes;
    if files.bytes(path)? != expected {
        return Err(ReadError::Damaged("is cut short or has grown"));
    }
    let mut summed = Summed::new(io::sink());
    io::copy(&mut file, &mut summed)?;
    if summed.hasher.finalize() != header.checksum {
        return Err(ReadError::Damaged("does not add up"));
    }
    Ok((file, header))
}

pub(super) fn read(files: &dyn Files, path: &Path) -> Result<(SnapshotMeta, State), ReadError> {
    let (mut file, header) = check(files, path)?;
    file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
    let mut from = BufReader::new(file);
    let meta = rmp_serde::from_read(Read::take(&mut from, header.meta_bytes.into()))
        .map_err(|_| ReadError::Damaged("cannot be read"))?;
    let body: Snapshot = rmp_serde::from_read(from).map_err(|_| ReadError::Damaged("cannot be read"))?;
    let state = body.into_state().map_err(ReadError::State)?;
    Ok((meta, state))
}

/// Counts and sums what passes through.
struct Summed<W> {
    inner: W,
    bytes: u64,
    hasher: crc32fast::Hasher,
}

impl<W> Summed<W> {
    fn new(inner: W) -> Self {
        Self { inner, bytes: 0, hasher: crc32fast::Hasher::new() }
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
