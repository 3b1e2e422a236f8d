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
/// Of the next one, until it has its name.
const PREPARED: &str = "next.tmp";

/// Of each key that a batch writes: where its value stands and how long it is; None where it is deleted.
pub(super) type Batch = Vec<(Vec<u8>, Option<(u64, u32)>)>;

#[derive(Debug)]
pub(super) struct Segment {
    first: u64,
    pub(super) file: Arc<File>,
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

    /// Whether there is nothing behind the last batch.
    pub(super) fn is_whole(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() == self.bytes)
    }

    /// Leaves nothing behind the last batch, no room either.
    pub(super) fn cut(&mut self) -> io::Result<()> {
        self.reserved = self.bytes;
        self.file.set_len(self.bytes)
    }

    /// The same batches, written once more, durably and with nothing behind them. What was read may be in memory alone:
    /// after a sync that failed, it is taken for written and no later sync writes it.
    pub(super) fn write_anew(&mut self, log: &Path) -> io::Result<()> {
        let mut written = vec![0; usize::try_from(self.bytes).expect("it was read whole")];
        self.file.read_exact_at(&mut written, 0)?;
        let path = path(log, self.first);
        let temporary = files::unfinished(&path);
        match create(&temporary).and_then(|file| file.write_all_at(&written, 0).map(|()| file)) {
            Ok(file) => {
                self.file = Arc::new(file);
                self.reserved = 0;
                files::finish(&self.file, &temporary, &path)?;
            }
            // Without room for that, in its place: each sector is given what it has, or should have.
            Err(why) => {
                tracing::warn!(error = %why, "no room to write the end of the log anew; it is written over");
                self.file.write_all_at(&written, 0)?;
                self.cut()?;
                files::make_durable(&self.file)?;
                files::make_names_durable(log)?;
            }
        }
        let _ = self.reserve();
        Ok(())
    }

    /// Of one that was prepared. The name is not durable yet.
    pub(super) fn give_name(mut self, log: &Path, first: u64) -> io::Result<Self> {
        self.first = first;
        fs::rename(log.join(PREPARED), path(log, first))?;
        Ok(self)
    }

    /// Where it fails, a part may be there: nothing may be appended after it.
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

/// An empty one without a name, and with room.
pub(super) fn prepare(log: &Path, oldest: u64) -> io::Result<Segment> {
    let file = create(&log.join(PREPARED))?;
    let mut header = [MAGIC.as_slice(), &oldest.to_be_bytes()].concat();
    header.extend(crc32fast::hash(&header).to_be_bytes());
    file.write_all_at(&header, 0)?;
    let mut segment = Segment { first: 0, file: Arc::new(file), bytes: HEADER_BYTES as u64, reserved: 0, valid: 0 };
    segment.reserve()?;
    Ok(segment)
}

fn create(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(true).open(path)
}

/// The first of all, empty.
pub(super) fn begin(log: &Path) -> io::Result<()> {
    let segment = prepare(log, 1)?;
    files::make_durable(&segment.file)?;
    segment.give_name(log, 1).map(drop)
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
