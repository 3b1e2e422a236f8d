//! How long the log grows: snapshots between those that openraft takes by the number of entries, where entries are large,
//! and the dropping of what lies behind a snapshot.
//!
//! The log is kept back to the snapshot before the newest, so that one that turns out damaged costs nothing. Openraft
//! itself purges nothing (two who purge could cross), and never an entry that no saved snapshot holds.

use openraft::error::Fatal;
use tokio_util::sync::CancellationToken;

use crate::{outside::SnapshotEvery, raft::Raft, storage::log::Appended};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Snapshot,
    /// The entry at the index and those before it.
    Purge(u64),
}

/// The last entry of the newest snapshot, and what had been appended to the log when it was seen.
#[derive(Clone, Copy, Debug)]
struct Compaction {
    every_bytes: u64,
    snapshot: Option<u64>,
    appended_bytes: u64,
}

impl Compaction {
    fn next(&mut self, newest: Option<u64>, appended_bytes: u64) -> Option<Step> {
        if newest > self.snapshot {
            let before = std::mem::replace(&mut self.snapshot, newest);
            self.appended_bytes = appended_bytes;
            return before.map(Step::Purge);
        }
        if appended_bytes - self.appended_bytes < self.every_bytes {
            return None;
        }
        // One that is not taken, because one is under way, is asked for again after as many bytes.
        self.appended_bytes = appended_bytes;
        Some(Step::Snapshot)
    }
}

pub(crate) async fn run(raft: Raft, appended: Appended, every: SnapshotEvery, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        // The end of the Raft task is seen by whoever runs the manager.
        _ended = compact(&raft, &appended, every) => {}
    }
}

async fn compact(raft: &Raft, appended: &Appended, every: SnapshotEvery) -> Result<(), Fatal<u64>> {
    let mut metrics = raft.data_metrics();
    // What is in the log already counts: a manager that restarts often must come to its snapshot too.
    let mut compaction =
        Compaction { every_bytes: every.bytes, snapshot: newest(&metrics.borrow_and_update()), appended_bytes: 0 };
    loop {
        let newest = newest(&metrics.borrow_and_update());
        match compaction.next(newest, appended.bytes()) {
            Some(Step::Snapshot) => raft.trigger().snapshot().await?,
            Some(Step::Purge(upto)) => raft.trigger().purge_log(upto).await?,
            None if metrics.changed().await.is_err() => return Err(Fatal::Stopped),
            None => {}
        }
    }
}

fn newest(metrics: &openraft::metrics::RaftDataMetrics<u64>) -> Option<u64> {
    metrics.snapshot.map(|last| last.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 1_000;

    fn new() -> Compaction {
        Compaction { every_bytes: BYTES, snapshot: None, appended_bytes: 0 }
    }

    #[test]
    fn the_log_is_kept_back_to_the_snapshot_before_the_newest() {
        let mut compaction = new();
        assert_eq!(compaction.next(None, 10), None);
        assert_eq!(compaction.next(Some(100), 20), None, "the first has none before it");
        assert_eq!(compaction.next(Some(200), 30), Some(Step::Purge(100)));
        assert_eq!(compaction.next(Some(200), 40), None);
        assert_eq!(compaction.next(Some(300), 50), Some(Step::Purge(200)));
    }

    #[test]
    fn large_entries_bring_a_snapshot_before_their_number_does() {
        let mut compaction = new();
        assert_eq!(compaction.next(None, BYTES - 1), None);
        assert_eq!(compaction.next(None, BYTES), Some(Step::Snapshot));
        assert_eq!(compaction.next(None, BYTES + 1), None, "asked for once");
        assert_eq!(compaction.next(Some(7), BYTES + 2), None);
        assert_eq!(compaction.next(Some(7), 2 * BYTES + 2), Some(Step::Snapshot));
    }
}
