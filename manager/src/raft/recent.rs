//! The last entries of the log, kept as they came: whoever reads them, to apply them or to send them to a follower that
//! keeps up, need not read and decode what was encoded and written a moment before.
//!
//! Stands between openraft and the [`Log`]. It holds nothing, or entries without a gap of which the last is the log's
//! last. Deliberately absent: whether anything is durable.

use std::{
    collections::VecDeque,
    fmt::Debug,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{LogFlushed, RaftLogStorage},
};

use crate::{
    raft::{LogId, StorageError, TypeConfig, Vote, batch},
    storage::log::Log,
};

type Entry = openraft::Entry<TypeConfig>;

/// As encoded; decoded they take about three times as much. A follower that lags behind further reads from the disk.
/// Below what one message to it takes, so that nothing has to be cut here.
const BYTES_MAX: usize = 1 << 20;

#[derive(Clone, Debug)]
pub(crate) struct Recent {
    log: Log,
    tail: Arc<Mutex<Tail>>,
}

/// By index, each one higher than the one before, with its size.
#[derive(Debug, Default)]
struct Tail {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, entry: Entry) {
        let follows = self.entries.back().is_none_or(|(last, _)| last.log_id.index + 1 == entry.log_id.index);
        if !follows {
            self.clear();
        }
        let bytes = batch::encoded_len(&entry);
        self.entries.push_back((entry, bytes));
        self.bytes += bytes;
        while self.bytes > BYTES_MAX && self.drop_first() {}
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    /// Drops the entries from that index on, that one included.
    fn cut(&mut self, since: u64) {
        while self.entries.back().is_some_and(|(last, _)| last.log_id.index >= since) {
            self.bytes -= self.entries.pop_back().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// Drops the entries up to that index, that one included.
    fn forget(&mut self, upto: u64) {
        while self.entries.front().is_some_and(|(first, _)| first.log_id.index <= upto) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) -> bool {
        let first = self.entries.pop_front();
        self.bytes -= first.as_ref().map_or(0, |(_, bytes)| *bytes);
        first.is_some()
    }

    /// The log's entries from the first index, included, to the second, excluded. None: it begins later.
    fn read(&self, from: u64, to: u64) -> Option<Vec<Entry>> {
        let (first, _) = self.entries.front().filter(|(first, _)| first.log_id.index <= from)?;
        let place = |index: u64| usize::try_from(index.saturating_sub(first.log_id.index)).unwrap_or(usize::MAX);
        let (from, to) = (place(from), place(to));
        Some(self.entries.iter().take(to).skip(from).map(|(entry, _)| entry.clone()).collect())
    }
}

impl Recent {
    pub(crate) fn new(log: Log) -> Self {
        Self { log, tail: Arc::default() }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RaftLogReader<TypeConfig> for Recent {
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
        let held = self.tail().read(from, to);
        match held {
            Some(entries) => Ok(entries),
            None => self.log.try_get_log_entries(range).await,
        }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let held = self.tail().read(start, end);
        match held {
            Some(entries) => Ok(entries),
            None => self.log.limited_get_log_entries(start, end).await,
        }
    }
}

impl RaftLogStorage<TypeConfig> for Recent {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        self.log.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.log.save_vote(vote).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        self.log.read_vote().await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.log.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        self.log.read_committed().await
    }

    /// What is held here is what the log holds: it comes in once the log has it.
    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.log.append(entries.clone(), callback).await?;
        let mut tail = self.tail();
        entries.into_iter().for_each(|entry| tail.push(entry));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        self.tail().cut(since.index);
        self.log.truncate(since).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        // The log may drop what is behind the cut as well: see there.
        if self.log.get_log_state().await?.last_log_id < Some(upto) {
            self.tail().clear();
        } else {
            self.tail().forget(upto.index);
        }
        self.log.purge(upto).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_core::command::{self, Command};
    use muster_proto::{id::ServiceId, time::Timestamp};
    use openraft::{
        EntryPayload,
        storage::RaftLogStorageExt,
        testing::{StoreBuilder, Suite, log_id},
    };
    use tempfile::TempDir;

    use super::*;
    use crate::{
        machine::Machine,
        raft::Batch,
        storage::{Missing, disk::HostDisk, open},
    };

    struct Builder;

    impl StoreBuilder<TypeConfig, Recent, Machine, TempDir> for Builder {
        async fn build(&self) -> Result<(TempDir, Recent, Machine), StorageError> {
            let (folder, opened) = fresh();
            let machine = Machine::new(opened.snapshots, opened.log.failure().clone());
            Ok((folder, Recent::new(opened.log), machine))
        }
    }

    fn fresh() -> (TempDir, crate::storage::Opened) {
        let folder = TempDir::new().unwrap();
        let opened = open(&(Arc::new(HostDisk) as _), &folder.path().join("manager"), Missing::Create).unwrap();
        (folder, opened)
    }

    #[test]
    fn openraft_s_own_suite_passes() {
        Suite::test_all(Builder).unwrap();
    }

    fn entry(term: u64, index: u64, commands: usize) -> Entry {
        let command = Command::RemoveService { id: ServiceId::from_bits(7) };
        let one = command::Entry::new(Timestamp::from_millis(term), None, command);
        let payload = EntryPayload::Normal(Batch::new(vec![one; commands]));
        Entry { log_id: log_id(term, 1, index), payload }
    }

    /// What it holds is what the log holds, whatever was cut off it at either end.
    #[tokio::test]
    async fn it_says_what_the_log_says() {
        let (_folder, opened) = fresh();
        let (mut log, mut recent) = (opened.log.clone(), Recent::new(opened.log));
        let large = BYTES_MAX / 70;
        let append = |term, indexes: std::ops::Range<u64>, commands| indexes.map(move |at| entry(term, at, commands));
        recent.blocking_append(append(1, 0..20, 3)).await.unwrap();
        same(&mut log, &mut recent, 20).await;
        recent.truncate(log_id(1, 1, 12)).await.unwrap();
        recent.blocking_append(append(2, 12..15, 1)).await.unwrap();
        same(&mut log, &mut recent, 15).await;
        recent.purge(log_id(1, 1, 4)).await.unwrap();
        same(&mut log, &mut recent, 15).await;
        recent.blocking_append(append(2, 15..16, large)).await.unwrap();
        recent.blocking_append(append(2, 16..17, large / 4)).await.unwrap();
        recent.blocking_append(append(2, 17..19, 1)).await.unwrap();
        assert!(recent.tail().bytes <= BYTES_MAX && recent.tail().entries.len() == 3);
        same(&mut log, &mut recent, 19).await;
        recent.truncate(log_id(2, 1, 16)).await.unwrap();
        same(&mut log, &mut recent, 16).await;
        recent.purge(log_id(3, 1, 30)).await.unwrap();
        recent.blocking_append(append(3, 31..33, 1)).await.unwrap();
        same(&mut log, &mut recent, 33).await;
    }

    async fn same(log: &mut Log, recent: &mut Recent, end: u64) {
        for from in 0..end {
            let of_log = log.try_get_log_entries(from..end).await.unwrap();
            assert_eq!(recent.try_get_log_entries(from..end).await.unwrap(), of_log, "from {from}");
            assert_eq!(
                recent.try_get_log_entries(from..=from).await.unwrap(),
                log.try_get_log_entries(from..=from).await.unwrap()
            );
        }
        assert_eq!(recent.try_get_log_entries(end..end + 5).await.unwrap(), vec![]);
    }
}
