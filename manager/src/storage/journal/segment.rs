//! One file of the journal, named by the number of its first batch.
//!
//! ```text
//! segment: magic (8) | number of the oldest segment still needed when it was begun (8) | crc32 of both (4) | batches
//! batch:   crc32 of the rest (4) | bytes of the writes (4) | number (8) | writes
//! write:   put or delete (1) | bytes of the key (4) | bytes of the value (4) | key | value
//! ```

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::fcntl::{FallocateFlags, fallocate};

use crate::storage::{files, store::Write};

const MAGIC: &[u8; 8] = b"muster/2";
/// Room set aside for what is written next: a disk that fills up is noticed before the log needs what is not there.
const RESERVE_BYTES: u64 = 1 << 20;
const HEADER_BYTES: usize = 20;
const BATCH_HEADER_BYTES: usize = 16;
const WRITE_HEADER_BYTES: usize = 9;
const DELETE: u8 = 0;
const PUT: u8 = 1;
const SUFFIX: &str = "log";

/// Of each key that a batch writes: where its value stands and how long it is; None where it is deleted.
pub(super) type Batch = Vec<(Vec<u8>, Option<(u64, u32)>)>;

#[derive(Debug)]
pub(super) struct Segment {
    first: u64,
    file: Arc<File>,
    /// Up to the end of the last batch.
    bytes: u64,
    /// Up to where the disk has room set aside.
    reserved: u64,
    /// Bytes of the values that no later write has replaced.
    pub(super) valid: u64,
}

impl Segment {
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether there is nothing behind the last batch.
    pub(super) fn is_whole(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() == self.bytes)
    }

    pub(super) fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.bytes)?;
        let _ = self.reserve();
        self.file.sync_all()
    }

    pub(super) fn read(&self, offset: u64, bytes: u32) -> io::Result<Vec<u8>> {
        let mut value = vec![0; bytes as usize];
        self.file.read_exact_at(&mut value, offset)?;
        Ok(value)
    }

    /// What could be written only in part is written over by the next.
    pub(super) fn append(&mut self, number: u64, writes: &[Write]) -> io::Result<Vec<Option<(u64, u32)>>> {
        let mut batch = vec![0; BATCH_HEADER_BYTES];
        let mut places = Vec::with_capacity(writes.len());
        for write in writes {
            let (kind, key, value): (_, _, &[u8]) = match write {
                Write::Put { key, value } => (PUT, key, value),
                Write::Delete { key } => (DELETE, key, &[]),
            };
            batch.push(kind);
            batch.extend(short(key.len())?.to_be_bytes());
            batch.extend(short(value.len())?.to_be_bytes());
            batch.extend(key);
            places.push((kind == PUT).then_some((self.bytes + batch.len() as u64, short(value.len())?)));
            batch.extend(value);
        }
        let bytes = short(batch.len() - BATCH_HEADER_BYTES)?;
        batch[4..8].copy_from_slice(&bytes.to_be_bytes());
        batch[8..16].copy_from_slice(&number.to_be_bytes());
        let checksum = crc32fast::hash(&batch[4..]);
        batch[..4].copy_from_slice(&checksum.to_be_bytes());
        self.file.write_all_at(&batch, self.bytes)?;
        self.bytes += batch.len() as u64;
        // Where there is none, what is left of the last lasts a while.
        let _ = self.reserve();
        Ok(places)
    }

    /// Half of what is set aside is always left, where the disk had it.
    fn reserve(&mut self) -> io::Result<()> {
        if self.bytes + RESERVE_BYTES / 2 <= self.reserved {
            return Ok(());
        }
        let (from, bytes) = (self.bytes.cast_signed(), RESERVE_BYTES.cast_signed());
        match fallocate(&*self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, bytes) {
            // Not every file system can.
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP) => {
                self.reserved = self.bytes + RESERVE_BYTES;
                Ok(())
            }
            Err(why) => Err(why.into()),
        }
    }
}

fn short(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a batch of more than 4 GiB"))
}

fn path(log: &Path, first: u64) -> PathBuf {
    // Sorts as the numbers do.
    log.join(format!("{first:020}.{SUFFIX}"))
}

/// The first numbers of all segments, in order.
pub(super) fn names(log: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == SUFFIX) {
            found.extend(path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// An empty one, which is whole or not there.
pub(super) fn begin(log: &Path, first: u64, oldest: u64) -> io::Result<Segment> {
    let path = path(log, first);
    let temporary = files::unfinished(&path);
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&temporary)?;
    let mut header = [MAGIC.as_slice(), &oldest.to_be_bytes()].concat();
    header.extend(crc32fast::hash(&header).to_be_bytes());
    file.write_all_at(&header, 0)?;
    let mut segment = Segment { first, file: Arc::new(file), bytes: HEADER_BYTES as u64, reserved: 0, valid: 0 };
    segment.reserve()?;
    files::finish(&segment.file, &temporary, &path)?;
    Ok(segment)
}

/// Which segment was the oldest that was needed when this one was begun; None where it does not add up.
pub(super) fn oldest(log: &Path, first: u64) -> io::Result<Option<u64>> {
    let mut header = [0; HEADER_BYTES];
    match File::open(path(log, first))?.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(why) => return Err(why),
    }
    let (rest, checksum) = header.split_at(HEADER_BYTES - 4);
    let oldest = rest.strip_prefix(MAGIC).map(|oldest| u64::from_be_bytes(oldest.try_into().expect("eight bytes")));
    Ok(oldest.filter(|oldest| *checksum == crc32fast::hash(rest).to_be_bytes() && (1..=first).contains(oldest)))
}

/// The segment up to its first batch that does not add up.
pub(super) fn read(log: &Path, first: u64) -> io::Result<(Segment, Vec<Batch>)> {
    let file = File::options().read(true).write(true).open(path(log, first))?;
    let written = fs::read(path(log, first))?;
    let (mut batches, mut bytes) = (Vec::new(), HEADER_BYTES);
    while let Some(batch) = batch_at(&written, bytes, first + batches.len() as u64) {
        bytes = batch.1;
        batches.push(batch.0);
    }
    Ok((Segment { first, file: Arc::new(file), bytes: bytes as u64, reserved: 0, valid: 0 }, batches))
}

/// The batch, and where it ends.
fn batch_at(written: &[u8], start: usize, number: u64) -> Option<(Batch, usize)> {
    let (header, behind) = written.get(start..)?.split_first_chunk::<BATCH_HEADER_BYTES>()?;
    let bytes = number_of(&header[4..8])? as usize;
    let writes = behind.get(..bytes)?;
    let end = start + BATCH_HEADER_BYTES + bytes;
    if header[..4] != crc32fast::hash(&written[start + 4..end]).to_be_bytes() || header[8..] != number.to_be_bytes() {
        return None;
    }
    let (mut batch, mut at) = (Vec::new(), 0);
    while at < writes.len() {
        let header = writes.get(at..at + WRITE_HEADER_BYTES)?;
        let (key_bytes, value_bytes) = (number_of(&header[1..5])?, number_of(&header[5..])?);
        at += WRITE_HEADER_BYTES;
        let key = writes.get(at..at + key_bytes as usize)?.to_vec();
        at += key_bytes as usize;
        let place = (start + BATCH_HEADER_BYTES + at) as u64;
        batch.push((key, (header[0] == PUT).then_some((place, value_bytes))));
        at += value_bytes as usize;
    }
    Some((batch, end))
}

fn number_of(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Removes the segments before this one, the newest of them last, and what was never finished.
pub(super) fn remove_older(log: &Path, oldest: u64) -> io::Result<()> {
    for first in names(log)?.into_iter().filter(|first| *first < oldest) {
        fs::remove_file(path(log, first))?;
    }
    for entry in fs::read_dir(log)? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == files::UNFINISHED) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}
