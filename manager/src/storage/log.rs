//! The Raft log, the vote and what goes with them, as openraft's log storage on a [`Store`].
//!
//! Called by openraft only. Writes are made in the order openraft asks for them and become durable in that order; an
//! entry is readable when `append` returns and acknowledged when the disk has it. Everything is checked once, at open.

mod codec;

use std::{
    fmt::Debug,
    io,
    ops::{Bound, ControlFlow, RangeBounds},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use muster_core::command::LOG_FORMAT;
use openraft::{
    AnyError, LogState, OptionalSend, RaftLogReader, StorageIOError,
    storage::{LogFlushed, RaftLogStorage},
};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::{
    failure::Failure,
    outside::Commits,
    raft::{LogId, StorageError, TypeConfig, Vote},
    storage::{
        error::OpenError,
        log::codec::{Assembler, COMMITTED, Entry, PURGED, Unreadable, VOTE},
        store::{Store, Write},
    },
};

/// Read from the store at once.
const READ_BYTES_MAX: usize = 256 << 10;
/// Of the entries handed to a follower in one go: a transport message takes 4 MiB.
pub(super) const LIMITED_BYTES_MAX: usize = 2 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    // Before the store, so that its thread ends before the store is closed.
    commits: Box<dyn Commits>,
    store: Arc<dyn Store>,
    ends: Mutex<Ends>,
    appended: Appended,
    failure: Failure,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    purged: Option<LogId>,
    last: Option<LogId>,
}

/// Bytes of the entries that the log held when it was opened and of all that were appended since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Appended(Arc<AtomicU64>);

impl Appended {
    pub(crate) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Refuses a log that is not whole; says up to where it was purged otherwise.
pub(super) fn check_all(store: &dyn Store, dir: &Path) -> Result<Option<LogId>, OpenError> {
    check(store).map(|(ends, _bytes)| ends.purged).map_err(|why| refused(why, dir))
}

fn refused(why: ReadError, dir: &Path) -> OpenError {
    match why {
        ReadError::Io(source) => OpenError::Unusable { path: dir.to_owned(), source },
        ReadError::Unreadable(Unreadable::Damaged(what)) => OpenError::damaged(dir, what),
        ReadError::Unreadable(Unreadable::Format(found)) => {
            OpenError::LogFormat { path: dir.to_owned(), found, known: LOG_FORMAT }
        }
    }
}

impl Log {
    pub(crate) fn open(store: Arc<dyn Store>, commits: Box<dyn Commits>, dir: &Path) -> Result<Self, OpenError> {
        let (ends, bytes) = check(&*store).map_err(|why| refused(why, dir))?;
        let appended = Appended::default();
        appended.add(bytes);
        let (ends, failure) = (Mutex::new(ends), Failure::default());
        Ok(Self(Arc::new(Inner { commits, store, ends, appended, failure })))
    }

    pub(crate) fn appended(&self) -> Appended {
        self.0.appended.clone()
    }

    /// What went wrong first, in words for the user.
    pub(crate) fn failure(&self) -> &Failure {
        &self.0.failure
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `first`: the entry that must be there.
    fn read(&self, (from, to): (u64, u64), first: Option<u64>, bytes_max: usize) -> Result<Vec<Entry>, ReadError> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        each_entry(&*self.0.store, (from, to), Assembler::new(first), |entry, size| {
            entries.push(entry);
            bytes += size;
            Ok(if bytes < bytes_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(entries)
    }

    async fn durable(&self) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        self.0.commits.commit(Box::new(move |result| {
            // The caller waits for it.
            let _ = tell.send(result);
        }));
        told.await.unwrap_or_else(|_| Err(io::Error::other("the log's thread has ended")))
    }

    fn write_failed(&self, why: impl std::error::Error + 'static) -> StorageError {
        self.0.failure.note(format!("the log could not be written ({why}); see to the disk, then start it again"));
        StorageIOError::write_logs(AnyError::new(&why)).into()
    }

    fn read_failed(&self, why: &ReadError) -> StorageError {
        self.0.failure.note(format!("the log could not be read: {why}"));
        StorageIOError::read_logs(AnyError::new(why)).into()
    }

    fn get<T: DeserializeOwned>(&self, what: &str, key: &[u8]) -> Result<Option<T>, StorageError> {
        get(&*self.0.store, what, key).map_err(|why| self.read_failed(&why))
    }

    fn put(&self, writes: Result<Vec<Write>, rmp_serde::encode::Error>) -> Result<(), StorageError> {
        let writes = writes.map_err(|why| self.write_failed(why))?;
        self.0.store.write(writes).map_err(|why| self.write_failed(why))
    }

    /// The keys of all records of the entries from `from` to `to`, included.
    fn deletions(&self, from: u64, to: u64) -> Result<Vec<Write>, StorageError> {
        let keys = self.0.store.keys(&codec::key(from, 0), &codec::key(to.saturating_add(1), 0));
        let keys = keys.map_err(|why| self.read_failed(&why.into()))?;
        Ok(keys.into_iter().map(|key| Write::Delete { key }).collect())
    }
}

fn get<T: DeserializeOwned>(store: &dyn Store, what: &str, key: &[u8]) -> Result<Option<T>, ReadError> {
    let sealed = store.get(key)?;
    Ok(sealed.map(|sealed| codec::decode_single(what, key, &sealed)).transpose()?)
}

/// The vote as the store has it.
pub(crate) fn vote_of(store: &dyn Store) -> io::Result<Option<Vote>> {
    get(store, "the vote", VOTE).map_err(|why| match why {
        ReadError::Io(why) => why,
        ReadError::Unreadable(why) => io::Error::new(io::ErrorKind::InvalidData, why),
    })
}

/// Reads the entries from the first index, included, to the second, excluded, and hands them on with their sizes.
fn each_entry(
    store: &dyn Store,
    (from, to): (u64, u64),
    mut assembler: Assembler,
    mut take: impl FnMut(Entry, usize) -> Result<ControlFlow<()>, ReadError>,
) -> Result<(), ReadError> {
    let (mut start, end) = (codec::key(from, 0), codec::key(to, 0));
    let mut size = 0;
    while start < end {
        let records = store.range(&start, &end, READ_BYTES_MAX)?;
        let Some((last, _)) = records.last() else { break };
        start.clone_from(last);
        // The key right after it.
        start.push(0);
        for record in &records {
            size += record.1.len();
            if let Some(entry) = assembler.push(record)?
                && take(entry, std::mem::take(&mut size))?.is_break()
            {
                return Ok(());
            }
        }
    }
    Ok(assembler.finish()?)
}

/// Reads all there is: nothing damaged, nothing missing, terms that only grow. Also says how many bytes the entries take.
fn check(store: &dyn Store) -> Result<(Ends, usize), ReadError> {
    get::<Vote>(store, "the vote", VOTE)?;
    let committed: Option<Option<LogId>> = get(store, "the commit mark", COMMITTED)?;
    let purged: Option<LogId> = get(store, "the purge mark", PURGED)?;
    let mut ends = Ends { purged, last: purged };
    let first = purged.map_or(0, |purged| purged.index + 1);
    let mut bytes = 0;
    each_entry(store, (0, u64::MAX), Assembler::new(Some(first)), |entry, size| {
        bytes += size;
        if ends.last.is_some_and(|last| last.leader_id > entry.log_id.leader_id) {
            let what = format!("entry {} is of an earlier term than the one before", entry.log_id.index);
            return Err(Unreadable::Damaged(what).into());
        }
        ends.last = Some(entry.log_id);
        Ok(ControlFlow::Continue(()))
    })?;
    if let Some(committed) = committed.flatten()
        && ends.last.is_none_or(|last| last.index < committed.index)
    {
        return Err(
            Unreadable::Damaged(format!("it ends before entry {}, which was committed", committed.index)).into()
        );
    }
    Ok((ends, bytes))
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.read((from, to), None, usize::MAX).map_err(|why| self.read_failed(&why))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        // For a follower: what began later than asked would leave a hole in its log.
        self.read((start, end), Some(start), LIMITED_BYTES_MAX).map_err(|why| self.read_failed(&why))
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let ends = *self.ends();
        Ok(LogState { last_purged_log_id: ends.purged, last_log_id: ends.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.put(codec::encode_single(VOTE, vote).map(|write| vec![write]))?;
        self.durable().await.map_err(|why| self.write_failed(why))
    }

    /// The promise alone. Openraft would let a manager that led before it was restarted go on in the same term, and answer
    /// reads before it has applied again what it had acknowledged; so it has to be elected anew.
    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let vote: Option<Vote> = self.get("the vote", VOTE)?;
        Ok(vote.map(|vote| Vote { committed: false, ..vote }))
    }

    /// Not synced: what it would save after power loss is only the applying of a few entries a moment earlier.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.put(codec::encode_single(COMMITTED, &committed).map(|write| vec![write]))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        self.get::<Option<LogId>>("the commit mark", COMMITTED).map(Option::flatten)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut writes = Vec::new();
        let mut last = None;
        for entry in entries {
            last = Some(entry.log_id);
            writes.extend(codec::encode_entry(&entry).map_err(|why| self.write_failed(why))?);
        }
        let bytes = writes.iter().map(Write::bytes).sum();
        self.put(Ok(writes))?;
        self.0.appended.add(bytes);
        let mut ends = self.ends();
        ends.last = last.or(ends.last);
        drop(ends);
        let failure = self.0.failure.clone();
        self.0.commits.commit(Box::new(move |result| {
            if let Err(why) = &result {
                failure.note(format!("the log could not be written ({why}); see to the disk, then start it again"));
            }
            callback.log_io_completed(result);
        }));
        Ok(())
    }

    /// Durable with the entries that replace them: nothing is acknowledged before.
    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        let deletions = self.deletions(since.index, u64::MAX - 1)?;
        self.put(Ok(deletions))?;
        let before = match since.index.checked_sub(1) {
            Some(before) => self.read((before, since.index), None, usize::MAX).map_err(|why| self.read_failed(&why))?,
            None => Vec::new(),
        };
        let mut ends = self.ends();
        ends.last = before.last().map(|entry| entry.log_id).or(ends.purged);
        Ok(())
    }

    /// The mark and the deletions are one batch; until it is durable the entries are there again after a crash.
    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        // A log that ends in an earlier term than the entry at which it is cut has nothing of that entry's leader: what it
        // has behind the cut is not what the others have there.
        let overtaken = self.ends().last < Some(upto);
        let mut writes = self.deletions(0, if overtaken { u64::MAX - 1 } else { upto.index })?;
        writes.push(codec::encode_single(PURGED, &upto).map_err(|why| self.write_failed(why))?);
        self.put(Ok(writes))?;
        let mut ends = self.ends();
        ends.purged = Some(upto);
        ends.last = ends.last.max(Some(upto));
        Ok(())
    }
}
