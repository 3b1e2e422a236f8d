//! The store on sled 0.34.7. The only file that knows sled.
//!
//! - Sled's flush writes to the kernel and no further, so the data file is synced on a handle of our own.
//! - Sled cuts a log that does not add up and goes on with what is left. Each batch therefore carries a running number,
//!   and after each sync the number reached goes into a file of its own, the watermark. A store that opens with a lower
//!   number has lost acknowledged writes. The watermark itself is not synced: after power loss it may be too low, which
//!   only makes the check weaker, never wrong.

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::fs::FileExt,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::storage::{
    error::OpenError,
    files,
    store::{Pair, Store, Write},
};

/// Entries are read back once, soon after they were written: a cache has little to do here.
const CACHE_BYTES: u64 = 4 << 20;
/// The running number's own key; the log's keys start with other letters.
const NUMBER_KEY: &[u8] = b"#";
const WATERMARK: &str = "watermark";
pub(super) const LOG: &str = "log";
/// Sled's name for its data file.
const DATA: &str = "db";
pub(super) const MARKER_GONE: &str = "its file STORE is gone";
/// Two slots, written in turn, so that a torn write leaves the other. A sector each.
const SLOT_BYTES: u64 = 512;
/// The number of the batch that makes the store.
const FIRST: u64 = 1;

/// How long a store that this process has just closed may take to be let go of; it takes milliseconds.
const LET_GO_MAX: Duration = Duration::from_secs(2);
const LET_GO_POLL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(crate) struct SledStore {
    db: sled::Db,
    /// Sled's own data file.
    data: File,
    watermark: File,
    /// Of the last batch written.
    number: Mutex<u64>,
}

impl SledStore {
    /// Makes an empty store, or accepts one that was made and never written to.
    pub(crate) fn create(dir: &Path) -> Result<(), OpenError> {
        let unusable = |source| OpenError::Unusable { path: dir.to_owned(), source };
        let log = dir.join(LOG);
        // Sled is not to touch a store that lost its marker.
        if let Ok(watermark) = File::open(dir.join(WATERMARK))
            && read_watermark(&watermark).map_err(unusable)?.is_some_and(|reached| reached > FIRST)
        {
            return Err(OpenError::damaged(dir, MARKER_GONE));
        }
        let db = open_db(dir, &log)?;
        match read_number(&db).map_err(unusable)? {
            None if db.is_empty() => {}
            Some(FIRST) => {}
            None | Some(_) => return Err(OpenError::damaged(dir, MARKER_GONE)),
        }
        let data = File::open(log.join(DATA)).map_err(unusable)?;
        db.insert(NUMBER_KEY, &FIRST.to_be_bytes())
            .and_then(|_| db.flush())
            .map_err(io::Error::from)
            .map_err(unusable)?;
        data.sync_all().and_then(|()| files::make_names_durable(&log)).map_err(unusable)?;
        let watermark = File::create(dir.join(WATERMARK)).map_err(unusable)?;
        for slot in 0..2 {
            watermark.write_all_at(&slot_of(FIRST), slot * SLOT_BYTES).map_err(unusable)?;
        }
        watermark.sync_all().and_then(|()| files::make_names_durable(dir)).map_err(unusable)
    }

    /// What can be told without sled, which makes what it does not find.
    pub(super) fn check_files(dir: &Path) -> Result<(), OpenError> {
        let unusable = |source| OpenError::Unusable { path: dir.to_owned(), source };
        let data = present(dir, &dir.join(LOG).join(DATA), "its log")?;
        if data.metadata().map_err(unusable)?.len() == 0 {
            return Err(OpenError::damaged(dir, "its log is empty"));
        }
        wait_until_let_go(dir, &data)?;
        reached(dir, &present(dir, &dir.join(WATERMARK), "its file watermark")?).map(|_reached| ())
    }

    /// The store, once [`super::trial`] has passed it.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_log(dir, &dir.join(LOG))
    }

    /// The same store on a copy of its log.
    pub(super) fn open_copy(dir: &Path, copy: &Path) -> Result<Self, OpenError> {
        Self::open_log(dir, copy)
    }

    fn open_log(dir: &Path, log: &Path) -> Result<Self, OpenError> {
        let unusable = |source| OpenError::Unusable { path: dir.to_owned(), source };
        let watermark = present(dir, &dir.join(WATERMARK), "its file watermark")?;
        let reached = reached(dir, &watermark)?;
        let db = open_db(dir, log)?;
        let number = read_number(&db).map_err(unusable)?.unwrap_or(0);
        if number < reached {
            let what =
                format!("writes that were acknowledged are missing from its log (it ends at {number} of {reached})");
            return Err(OpenError::Damaged { path: dir.to_owned(), what });
        }
        let data = File::open(log.join(DATA)).map_err(unusable)?;
        Ok(Self { db, data, watermark, number: Mutex::new(number) })
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.db.get(key)?.map(|value| value.to_vec()))
    }

    fn range(&self, from: &[u8], to: &[u8], bytes_max: usize) -> io::Result<Vec<Pair>> {
        let (mut pairs, mut bytes) = (Vec::new(), 0);
        for pair in self.db.range(from..to) {
            let (key, value) = pair?;
            bytes += value.len();
            pairs.push((key.to_vec(), value.to_vec()));
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(pairs)
    }

    fn keys(&self, from: &[u8], to: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.db.range(from..to).keys().map(|key| key.map(|key| key.to_vec()).map_err(io::Error::from)).collect()
    }

    fn write(&self, writes: Vec<Write>) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for write in writes {
            match write {
                Write::Put { key, value } => batch.insert(key, value),
                Write::Delete { key } => batch.remove(key),
            }
        }
        let mut number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        batch.insert(NUMBER_KEY, &(*number + 1).to_be_bytes());
        self.db.apply_batch(batch)?;
        *number += 1;
        Ok(())
    }

    fn make_durable(&self) -> io::Result<()> {
        let reached = *self.number.lock().unwrap_or_else(PoisonError::into_inner);
        self.db.flush()?;
        self.data.sync_data()?;
        self.watermark.write_all_at(&slot_of(reached), (reached % 2) * SLOT_BYTES)
    }
}

fn open_db(dir: &Path, log: &Path) -> Result<sled::Db, OpenError> {
    let config =
        sled::Config::new().path(log).mode(sled::Mode::LowSpace).cache_capacity(CACHE_BYTES).flush_every_ms(None);
    survive(dir, || {
        config.open().map_err(|why| match why {
            sled::Error::Io(why) if is_lock_refusal(&why) => OpenError::InUse { path: dir.to_owned() },
            sled::Error::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
                OpenError::Unusable { path: dir.to_owned(), source }
            }
            why => OpenError::damaged(dir, format!("its log cannot be read ({why})")),
        })
    })
}

/// Sled meets some kinds of damage with a panic.
pub(super) fn survive<T>(dir: &Path, work: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_panic| Err(OpenError::damaged(dir, "its log cannot be read")))
}

/// The file, which must be there.
fn present(dir: &Path, path: &Path, what: &str) -> Result<File, OpenError> {
    File::options().read(true).write(true).open(path).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => OpenError::damaged(dir, format!("{what} is gone")),
        _ => OpenError::Unusable { path: dir.to_owned(), source: why },
    })
}

fn reached(dir: &Path, watermark: &File) -> Result<u64, OpenError> {
    read_watermark(watermark)
        .map_err(|source| OpenError::Unusable { path: dir.to_owned(), source })?
        .ok_or_else(|| OpenError::damaged(dir, "its file watermark is not what muster wrote"))
}

/// Sled wraps the refusal in text; the kind is left at Other.
/// Sled's own threads hold on to the file for a moment after the store is dropped, as after a `leave` that is followed
/// by an `init`. Only who holds it for longer is another daemon.
fn wait_until_let_go(dir: &Path, data: &File) -> Result<(), OpenError> {
    let began = Instant::now();
    loop {
        match data.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if began.elapsed() < LET_GO_MAX => thread::sleep(LET_GO_POLL),
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: dir.to_owned() }),
            Err(TryLockError::Error(source)) => {
                return Err(OpenError::Unusable { path: dir.to_owned(), source });
            }
        }
    }
}

fn is_lock_refusal(why: &io::Error) -> bool {
    why.kind() == io::ErrorKind::WouldBlock || why.to_string().contains("could not acquire lock")
}

fn read_number(db: &sled::Db) -> io::Result<Option<u64>> {
    let number = db.get(NUMBER_KEY)?;
    Ok(number.and_then(|bytes| <[u8; 8]>::try_from(bytes.as_ref()).ok()).map(u64::from_be_bytes))
}

fn slot_of(number: u64) -> [u8; 12] {
    let mut slot = [0; 12];
    slot[..8].copy_from_slice(&number.to_be_bytes());
    slot[8..].copy_from_slice(&crc32fast::hash(&number.to_be_bytes()).to_be_bytes());
    slot
}

/// The higher of the two slots that are whole; None when neither is.
fn read_watermark(file: &File) -> io::Result<Option<u64>> {
    let mut reached = None;
    for place in 0..2 {
        let mut slot = [0; 12];
        match file.read_exact_at(&mut slot, place * SLOT_BYTES) {
            Ok(()) => {}
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(why) => return Err(why),
        }
        let number = u64::from_be_bytes(slot[..8].try_into().expect("eight bytes"));
        if slot == slot_of(number) {
            reached = reached.max(Some(number));
        }
    }
    Ok(reached)
}
