//! The store as a journal: batches one behind the other in files, segments, and a map in memory of where each key's
//! value stands.
//!
//! What was synced is never written over. A sync covers the newest segment alone, since the next one is begun once all
//! before it is on the disk. So power loss can only tear the end of the newest, and what is torn there was acknowledged
//! to nobody. Opening reads everything, and changes nothing before it is found to be whole.
//!
//! Each batch has a running number. After each sync the number reached goes into a file of its own, the
//! [`super::watermark`]: a journal that ends before it has lost acknowledged writes, which is not a torn end.
//!
//! The oldest segments go once little in them is still valid: that is written again, behind everything else.

mod segment;

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io,
    ops::Bound::{Excluded, Included},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use segment::Segment;

use crate::storage::{
    error::OpenError,
    files,
    store::{Pair, Store, Write},
    watermark::Watermark,
};

pub(super) const LOG: &str = "log";
pub(super) const MARKER_GONE: &str = "its file STORE is gone";
/// A longer one is followed by the next.
const SEGMENT_BYTES: u64 = 8 << 20;
/// The oldest segment's values are written again where they are no more than this share of a segment...
const MOVED_SHARE: u64 = 32;
/// ...or where the segments are so many more than the values in them need.
const SPARE_SEGMENTS: u64 = 4;
/// Where a segment could not be begun, this share of one is written before the next attempt.
const RETRY_SHARE: u64 = 8;
/// How often a segment that is to be the last but one is synced, where others write to it meanwhile.
const BEGIN_ATTEMPTS: usize = 3;
/// Replication lets go of a store only once its last call has ended, and a child of this process once it is another.
const LET_GO_MAX: Duration = Duration::from_secs(2);
const LET_GO_POLL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct Journal {
    log: PathBuf,
    /// Held for the lock on it.
    _folder: File,
    segment_bytes: u64,
    /// Taken before `contents`.
    syncs: Mutex<Syncs>,
    /// Never held during a sync: reads and writes wait for it on the runtime's threads.
    contents: Mutex<Contents>,
}

#[derive(Debug)]
struct Syncs {
    watermark: Watermark,
    /// The newest segment has no successor before it is as long.
    hold_bytes: u64,
}

#[derive(Debug, Default)]
struct Contents {
    /// By age; the last one is written to.
    segments: VecDeque<Segment>,
    values: BTreeMap<Vec<u8>, Place>,
    /// Of the last batch.
    number: u64,
    /// Whether a write failed: what is behind the last batch then, nobody knows.
    failed: bool,
}

/// Of a value.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The segment's first number.
    segment: u64,
    offset: u64,
    bytes: u32,
}

impl Journal {
    /// Makes an empty store, or accepts one that was made and never written to.
    pub(crate) fn create(dir: &Path) -> Result<(), OpenError> {
        let unusable = |source| OpenError::Unusable { path: dir.to_owned(), source };
        // A store that lost its marker is not touched.
        if Watermark::open(dir).is_ok_and(|watermark| watermark.reached() > 0) {
            return Err(OpenError::damaged(dir, MARKER_GONE));
        }
        let log = dir.join(LOG);
        fs::create_dir_all(&log).map_err(unusable)?;
        if segment::names(&log).map_err(unusable)?.is_empty() {
            segment::begin(&log).map_err(unusable)?;
        }
        files::make_names_durable(&log).map_err(unusable)?;
        if read_all(dir)?.number > 0 {
            return Err(OpenError::damaged(dir, MARKER_GONE));
        }
        Watermark::create(dir).map_err(unusable)
    }

    /// Reads everything, and changes nothing: not even the torn end of the newest segment.
    pub(crate) fn look(dir: &Path) -> Result<Self, OpenError> {
        Self::look_at(dir, SEGMENT_BYTES)
    }

    fn look_at(dir: &Path, segment_bytes: u64) -> Result<Self, OpenError> {
        let log = dir.join(LOG);
        let folder = lock(dir, &log)?;
        let watermark = Watermark::open(dir)?;
        let contents = read_all(dir)?;
        let (number, reached) = (contents.number, watermark.reached());
        if number < reached {
            let what =
                format!("writes that were acknowledged are missing from its log (it ends at {number} of {reached})");
            return Err(OpenError::Damaged { path: dir.to_owned(), what });
        }
        let syncs = Mutex::new(Syncs { watermark, hold_bytes: 0 });
        Ok(Self { log, _folder: folder, segment_bytes, syncs, contents: Mutex::new(contents) })
    }

    /// The store, once a look has found what it holds to be whole.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, SEGMENT_BYTES)
    }

    pub(super) fn open_with(dir: &Path, segment_bytes: u64) -> Result<Self, OpenError> {
        let journal = Self::look_at(dir, segment_bytes)?;
        journal.mend().map_err(|source| OpenError::Unusable { path: dir.to_owned(), source })?;
        Ok(journal)
    }

    /// Cuts off a torn end, so that nothing of it shows behind what is written next. What is left counts as durable from
    /// here on, and so does its name: then what it replaced can go.
    fn mend(&self) -> io::Result<()> {
        let mut contents = self.contents();
        contents.newest().write_anew(&self.log)?;
        segment::remove_older(&self.log, contents.segments[0].first())
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn syncs(&self) -> MutexGuard<'_, Syncs> {
        self.syncs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says up to which batch. Others write on meanwhile.
    fn sync_newest(&self) -> io::Result<u64> {
        let (file, number) = {
            let contents = self.contents();
            contents.check()?;
            (newest(&contents.segments).file(), contents.number)
        };
        files::make_durable(&file)?;
        Ok(number)
    }

    /// Begins the next segment, and lets go of those before the oldest. Says whether it did: not where others wrote on.
    fn go_on(&self, next: Segment, oldest: u64) -> io::Result<bool> {
        files::make_durable(&next.file)?;
        self.contents().move_older(oldest)?;
        for _ in 0..BEGIN_ATTEMPTS {
            self.contents().newest().cut()?;
            let synced = self.sync_newest()?;
            let mut contents = self.contents();
            // Only the newest may be torn.
            if contents.number == synced {
                contents.segments.push_back(next.give_name(&self.log, synced + 1)?);
                drop(contents);
                files::make_names_durable(&self.log)?;
                self.contents().segments.retain(|segment| segment.first() >= oldest);
                segment::remove_older(&self.log, oldest)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Contents {
    fn newest(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("there is always one")
    }

    fn check(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("an earlier write to the log failed")) } else { Ok(()) }
    }

    fn write(&mut self, batch: &[Write]) -> io::Result<()> {
        self.check()?;
        let number = self.number + 1;
        let segment = self.newest();
        let (first, appended) = (segment.first(), segment.append(number, batch));
        self.failed = appended.is_err();
        let places = appended?;
        self.number = number;
        self.take(first, batch.iter().map(Write::key).zip(places));
        Ok(())
    }

    /// Notes where the batch's values stand, in its order; None for what it deletes.
    fn take<'a>(&mut self, segment: u64, places: impl Iterator<Item = (&'a [u8], Option<(u64, u32)>)>) {
        for (key, place) in places {
            let was = match place {
                Some((offset, bytes)) => self.values.insert(key.to_vec(), Place { segment, offset, bytes }),
                None => self.values.remove(key),
            };
            if let Some((_, bytes)) = place {
                self.segment(segment).valid += u64::from(bytes);
            }
            if let Some(was) = was {
                self.segment(was.segment).valid -= u64::from(was.bytes);
            }
        }
    }

    fn segment(&mut self, first: u64) -> &mut Segment {
        let place = self.segments.binary_search_by_key(&first, Segment::first).expect("a segment with values is kept");
        &mut self.segments[place]
    }

    fn found(&self, place: Place) -> Found {
        let found = self.segments.binary_search_by_key(&place.segment, Segment::first);
        let file = self.segments[found.expect("a segment with values is kept")].file();
        Found { file, offset: place.offset, bytes: place.bytes }
    }

    /// The segment that is to be the oldest, if another one is to be begun now: this one is long, or much is to be let go.
    fn due(&self, segment_bytes: u64, hold_bytes: u64) -> Option<u64> {
        let valid: u64 = self.segments.iter().map(|segment| segment.valid).sum();
        let mut written: u64 = self.segments.iter().map(Segment::bytes).sum();
        let (mut dead, mut oldest) = (0, self.segments[0].first());
        for (segment, next) in self.segments.iter().zip(self.segments.iter().skip(1)) {
            let few = segment.valid <= segment_bytes / MOVED_SHARE;
            if !few && written < 2 * valid + SPARE_SEGMENTS * segment_bytes {
                break;
            }
            written -= segment.bytes();
            dead += if few { segment.bytes() } else { 0 };
            oldest = next.first();
        }
        let newest = newest(&self.segments).bytes();
        (newest >= hold_bytes && newest.max(dead) >= segment_bytes).then_some(oldest)
    }

    /// Writes what is valid before the oldest segment again, if only a batch of nothing: the next segment is to have a
    /// name of its own.
    fn move_older(&mut self, oldest: u64) -> io::Result<()> {
        let mut moved = Vec::new();
        for (key, place) in self.values.iter().filter(|(_, place)| place.segment < oldest) {
            moved.push(Write::Put { key: key.clone(), value: self.found(*place).read()? });
        }
        self.write(&moved)
    }
}

/// A value, wherever its segment's name is gone meanwhile.
#[derive(Debug)]
struct Found {
    file: Arc<File>,
    offset: u64,
    bytes: u32,
}

impl Found {
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut value = vec![0; self.bytes as usize];
        self.file.read_exact_at(&mut value, self.offset)?;
        Ok(value)
    }
}

impl Store for Journal {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let found = {
            let contents = self.contents();
            contents.values.get(key).map(|place| contents.found(*place))
        };
        found.map(|found| found.read()).transpose()
    }

    fn range(&self, from: &[u8], to: &[u8], bytes_max: usize) -> io::Result<Vec<Pair>> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        {
            let contents = self.contents();
            for (key, place) in contents.values.range::<[u8], _>((Included(from), Excluded(to))) {
                bytes += place.bytes as usize;
                found.push((key.clone(), contents.found(*place)));
                if bytes >= bytes_max {
                    break;
                }
            }
        }
        found.into_iter().map(|(key, found)| Ok((key, found.read()?))).collect()
    }

    fn keys(&self, from: &[u8], to: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let contents = self.contents();
        Ok(contents.values.range::<[u8], _>((Included(from), Excluded(to))).map(|(key, _)| key.clone()).collect())
    }

    fn write(&self, batch: Vec<Write>) -> io::Result<()> {
        self.contents().write(&batch)
    }

    fn make_durable(&self) -> io::Result<()> {
        let mut syncs = self.syncs();
        let number = self.sync_newest()?;
        syncs.watermark.set(number)
    }

    fn tidy_up(&self) -> io::Result<()> {
        let mut syncs = self.syncs();
        let Some(oldest) = self.contents().due(self.segment_bytes, syncs.hold_bytes) else { return Ok(()) };
        let begun = match segment::prepare(&self.log, oldest) {
            Ok(next) => self.go_on(next, oldest)?,
            Err(why) => {
                // Everything is durable as it is, and this one has room set aside.
                tracing::warn!(error = %why, "no new file of the log could be begun; the last one is written on");
                false
            }
        };
        let written = newest(&self.contents().segments).bytes();
        syncs.hold_bytes = if begun { 0 } else { written + self.segment_bytes / RETRY_SHARE };
        Ok(())
    }
}

fn newest(segments: &VecDeque<Segment>) -> &Segment {
    segments.back().expect("there is always one")
}

/// The log's folder, which nobody else may have.
fn lock(dir: &Path, log: &Path) -> Result<File, OpenError> {
    let folder = File::open(log).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => OpenError::damaged(dir, "its log is gone"),
        _ => OpenError::Unusable { path: dir.to_owned(), source: why },
    })?;
    let began = Instant::now();
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(fs::TryLockError::WouldBlock) if began.elapsed() < LET_GO_MAX => thread::sleep(LET_GO_POLL),
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse { path: dir.to_owned() }),
            Err(fs::TryLockError::Error(source)) => {
                return Err(OpenError::Unusable { path: dir.to_owned(), source });
            }
        }
    }
}

/// All segments that are needed, one behind the other without a gap.
fn read_all(dir: &Path) -> Result<Contents, OpenError> {
    let unusable = |source| OpenError::Unusable { path: dir.to_owned(), source };
    let log = dir.join(LOG);
    let names = segment::names(&log).map_err(unusable)?;
    let Some(last) = names.last() else { return Err(OpenError::damaged(dir, "its log is gone")) };
    let oldest = segment::oldest(&log, *last).map_err(unusable)?;
    let oldest = oldest.ok_or_else(|| OpenError::damaged(dir, "its log cannot be read"))?;
    let mut contents = Contents { number: oldest - 1, ..Contents::default() };
    for first in names.iter().copied().filter(|first| *first >= oldest) {
        if first != contents.number + 1 {
            return Err(OpenError::damaged(dir, format!("its log ends at {}, before {first}", contents.number)));
        }
        let (segment, batches) = segment::read(&log, first).map_err(unusable)?;
        let whole = segment.is_whole().map_err(unusable)?;
        contents.segments.push_back(segment);
        contents.number += batches.len() as u64;
        for batch in &batches {
            contents.take(first, batch.iter().map(|(key, place)| (&**key, *place)));
        }
        if !whole && first != *last {
            return Err(OpenError::damaged(dir, format!("its log does not add up behind {}", contents.number)));
        }
    }
    match contents.segments.is_empty() {
        true => Err(OpenError::damaged(dir, "its log is gone")),
        false => Ok(contents),
    }
}

#[cfg(test)]
mod tests;
