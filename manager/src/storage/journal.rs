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
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use segment::Segment;

use crate::storage::{
    error::OpenError,
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
/// The number of the batch that makes the store.
const FIRST: u64 = 1;

#[derive(Debug)]
pub(crate) struct Journal {
    log: PathBuf,
    /// Held for the lock on it.
    _folder: File,
    watermark: Watermark,
    segment_bytes: u64,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    /// By age; the last one is written to.
    segments: VecDeque<Segment>,
    values: BTreeMap<Vec<u8>, Place>,
    /// Of the last batch.
    number: u64,
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
        if Watermark::open(dir).is_ok_and(|watermark| watermark.reached() > FIRST) {
            return Err(OpenError::damaged(dir, MARKER_GONE));
        }
        let log = dir.join(LOG);
        fs::create_dir_all(&log).map_err(unusable)?;
        if segment::names(&log).map_err(unusable)?.is_empty() {
            segment::begin(&log, FIRST, FIRST).map_err(unusable)?;
        }
        let mut contents = read_all(dir)?;
        match contents.number {
            0 => contents.found().map_err(unusable)?,
            FIRST => {}
            _ => return Err(OpenError::damaged(dir, MARKER_GONE)),
        }
        Watermark::create(dir, FIRST).map_err(unusable)
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
        Ok(Self { log, _folder: folder, watermark, segment_bytes, contents: Mutex::new(contents) })
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

    /// Cuts off a torn end, so that nothing of it shows behind what is written next, and removes what was replaced.
    fn mend(&self) -> io::Result<()> {
        let mut contents = self.contents();
        contents.newest().cut()?;
        segment::remove_older(&self.log, contents.segments[0].first())
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the next segment, and lets go of the oldest where that is cheap.
    fn go_on(&self, contents: &mut Contents) -> io::Result<()> {
        let oldest = contents.move_oldest(self.segment_bytes)?;
        // Only the newest may be torn.
        newest(&contents.segments).sync()?;
        let next = match segment::begin(&self.log, contents.number + 1, oldest) {
            // Everything is durable as it is, and this one has room set aside.
            Err(why) if why.kind() == io::ErrorKind::StorageFull => return Ok(()),
            begun => begun?,
        };
        contents.segments.push_back(next);
        contents.segments.retain(|segment| segment.first() >= oldest);
        segment::remove_older(&self.log, oldest)
    }
}

impl Contents {
    fn newest(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("there is always one")
    }

    /// Writes the batch that makes the store.
    fn found(&mut self) -> io::Result<()> {
        self.newest().cut()?;
        self.write(&[])?;
        newest(&self.segments).sync()
    }

    fn write(&mut self, batch: &[Write]) -> io::Result<()> {
        let number = self.number + 1;
        let segment = self.newest();
        let (first, places) = (segment.first(), segment.append(number, batch)?);
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

    fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        let found = self.segments.binary_search_by_key(&place.segment, Segment::first);
        self.segments[found.expect("a segment with values is kept")].read(place.offset, place.bytes)
    }

    /// Writes what is valid in the oldest segments again. Says which is the oldest that is still needed.
    fn move_oldest(&mut self, segment_bytes: u64) -> io::Result<u64> {
        let valid: u64 = self.segments.iter().map(|segment| segment.valid).sum();
        let mut written: u64 = self.segments.iter().map(Segment::bytes).sum();
        let (mut moved, mut oldest) = (Vec::new(), self.segments[0].first());
        for (segment, next) in self.segments.iter().zip(self.segments.iter().skip(1)) {
            let few = segment.valid <= segment_bytes / MOVED_SHARE;
            if !few && written < 2 * valid + SPARE_SEGMENTS * segment_bytes {
                break;
            }
            for (key, place) in self.values.iter().filter(|(_, place)| place.segment == segment.first()) {
                moved.push(Write::Put { key: key.clone(), value: self.read(*place)? });
            }
            written -= segment.bytes();
            oldest = next.first();
        }
        self.write(&moved)?;
        Ok(oldest)
    }
}

impl Store for Journal {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let contents = self.contents();
        contents.values.get(key).map(|place| contents.read(*place)).transpose()
    }

    fn range(&self, from: &[u8], to: &[u8], bytes_max: usize) -> io::Result<Vec<Pair>> {
        let contents = self.contents();
        let (mut pairs, mut bytes) = (Vec::new(), 0);
        for (key, place) in contents.values.range::<[u8], _>((Included(from), Excluded(to))) {
            bytes += place.bytes as usize;
            pairs.push((key.clone(), contents.read(*place)?));
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(pairs)
    }

    fn keys(&self, from: &[u8], to: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let contents = self.contents();
        Ok(contents.values.range::<[u8], _>((Included(from), Excluded(to))).map(|(key, _)| key.clone()).collect())
    }

    fn write(&self, batch: Vec<Write>) -> io::Result<()> {
        self.contents().write(&batch)
    }

    fn make_durable(&self) -> io::Result<()> {
        let (file, number) = {
            let contents = self.contents();
            (newest(&contents.segments).file(), contents.number)
        };
        // Others write on meanwhile.
        file.sync_data()?;
        self.watermark.set(number)?;
        let mut contents = self.contents();
        match newest(&contents.segments).bytes() < self.segment_bytes {
            true => Ok(()),
            false => self.go_on(&mut contents),
        }
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
    folder.try_lock().map_err(|why| match why {
        fs::TryLockError::WouldBlock => OpenError::InUse { path: dir.to_owned() },
        fs::TryLockError::Error(source) => OpenError::Unusable { path: dir.to_owned(), source },
    })?;
    Ok(folder)
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
