//! Power loss at any moment of a load like a manager's.
//!
//! What was synced, by the syncs that the journal really makes, is on the disk. Of what was written since, each sector
//! may be there or not, whatever came first, and so may a file's new length, a new name, and what was removed. The store
//! must then open with everything that was acknowledged, identical, and with nothing but whole batches behind it; and so
//! again, as often as the power fails, also while the store mends what was left.

mod platter;

use std::sync::mpsc;

use futures_util::poll;
use rand::{Rng, SeedableRng, rngs::StdRng};

use platter::{Files, Moment, Platter, Shared};

use super::*;
use crate::{outside::Commits, raft::LogId, storage::commit::Durable};

/// Of a command as it is written.
const COMMAND_BYTES: usize = 80;
/// A short load is to begin many segments, and to let go of as many.
const SEGMENT_BYTES: u64 = 64 << 10;
/// The log is purged where its entries are more.
const KEPT_BYTES_MAX: usize = 200 << 10;
const SEEDS: u64 = 4;
const SYNCS: usize = 80;

/// What the log must hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
}

impl Held {
    fn last(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.log_id).or(self.purged)
    }

    async fn of(log: &mut Log) -> Self {
        let entries = log.try_get_log_entries(..).await.unwrap();
        Self {
            vote: log.read_vote().await.unwrap(),
            committed: log.read_committed().await.unwrap(),
            purged: log.get_log_state().await.unwrap().last_purged_log_id,
            entries: entries.into_iter().map(|entry| (entry.log_id.index, entry)).collect(),
        }
    }
}

/// Everybody waits until the load syncs.
#[derive(Debug)]
struct Waiting(mpsc::Sender<Durable>);

impl Commits for Waiting {
    fn commit(&self, durable: Durable) {
        self.0.send(durable).unwrap();
    }
}

struct Load {
    folder: Folder,
    random: StdRng,
    log: Log,
    snapshots: Arc<Snapshots>,
    store: Arc<Journal>,
    waiting: mpsc::Receiver<Durable>,
    term: u64,
    /// Of the entries in the log.
    bytes: BTreeMap<u64, usize>,
    /// After the last sync, and after each batch since.
    steps: Vec<Held>,
    platter: Shared,
    watermarks: Vec<Vec<u8>>,
}

type Opening = (Log, Arc<Snapshots>, Arc<Journal>, mpsc::Receiver<Durable>);

/// As [`open`], with short segments, and with syncs when the test wants them.
fn open_short(folder: &Folder) -> Result<Opening, OpenError> {
    let path = folder.path();
    let snapshots = open(&disk(), &path, Missing::Create)?.snapshots;
    let store = Arc::new(Journal::open_with(&path, SEGMENT_BYTES)?);
    let (tell, waiting) = mpsc::channel();
    let log = Log::open(store.clone(), Box::new(Waiting(tell)), &path)?;
    Ok((log, snapshots, store, waiting))
}

impl Load {
    fn new(seed: u64) -> Self {
        let folder = Folder::new();
        let platter = Platter::of(&folder);
        let (log, snapshots, store, waiting) = open_short(&folder).unwrap();
        let (steps, watermarks) = (vec![Held::default()], vec![watermark_of(&folder.contents())]);
        let (random, bytes) = (StdRng::seed_from_u64(seed), BTreeMap::new());
        Self { folder, random, log, snapshots, store, waiting, term: 1, bytes, steps, platter, watermarks }
    }

    fn held(&self) -> &Held {
        self.steps.last().unwrap()
    }

    fn entry(&mut self, log_id: LogId, bytes: usize) -> Entry {
        let one = |id| {
            let command = Command::RemoveService { id: ServiceId::from_bits(id) };
            command::Entry { format: LOG_FORMAT, at: Timestamp::from_millis(1), request: None, command }
        };
        let entries = (0..=bytes / COMMAND_BYTES).map(|_| one(self.random.random())).collect();
        Entry { log_id, payload: EntryPayload::Normal(Batch::new(entries)) }
    }

    /// One append of so many bytes, in entries of 200 bytes to 64 KiB.
    async fn append(&mut self, bytes: usize) {
        let mut held = self.held().clone();
        let mut left = bytes;
        let mut entries = Vec::new();
        let mut index = held.last().map_or(0, |last| last.index + 1);
        while left > 0 && entries.len() < 300 {
            let large = self.random.random_bool(0.3);
            let size = self.random.random_range(200..if large { 64 << 10 } else { 2_000 }).min(left.max(200));
            let entry = self.entry(log_id(self.term, 1, index), size);
            self.bytes.insert(index, size);
            held.entries.insert(index, entry.clone());
            entries.push(entry);
            left = left.saturating_sub(size);
            index += 1;
        }
        let mut log = self.log.clone();
        let mut appending = Box::pin(async move { log.blocking_append(entries).await });
        // Written at the first poll; what it waits for is the sync.
        assert!(poll!(&mut appending).is_pending());
        self.steps.push(held);
    }

    async fn vote(&mut self) {
        self.term += 1;
        let vote = Vote::new(self.term, 1);
        let mut log = self.log.clone();
        let mut voting = Box::pin(async move { log.save_vote(&vote).await });
        assert!(poll!(&mut voting).is_pending());
        let held = Held { vote: Some(vote), ..self.held().clone() };
        self.steps.push(held);
    }

    async fn commit_mark(&mut self) {
        let committed = self.held().last();
        self.log.save_committed(committed).await.unwrap();
        let held = Held { committed, ..self.held().clone() };
        self.steps.push(held);
    }

    async fn truncate(&mut self) {
        let mut held = self.held().clone();
        let first = held.committed.max(held.purged).map_or(0, |kept| kept.index + 1);
        let Some(last) = held.last().filter(|last| last.index >= first) else { return };
        let since = self.random.random_range(first.max(last.index.saturating_sub(10))..=last.index);
        self.log.truncate(held.entries[&since].log_id).await.unwrap();
        held.entries.split_off(&since);
        self.bytes.split_off(&since);
        self.steps.push(held);
    }

    async fn purge_old(&mut self) {
        let mut held = self.held().clone();
        // A snapshot holds what is committed, and what is committed is never replaced.
        let Some(committed) = self.steps[0].committed.min(self.steps[0].last()) else { return };
        let mut kept = self.bytes.values().sum::<usize>();
        if kept < KEPT_BYTES_MAX || held.purged.is_some_and(|purged| purged >= committed) {
            return;
        }
        let mut upto = committed.index;
        for (index, bytes) in &self.bytes {
            kept -= bytes;
            upto = *index;
            if kept < KEPT_BYTES_MAX / 3 || upto == committed.index {
                break;
            }
        }
        let upto = held.entries[&upto].log_id;
        let meta = SnapshotMeta { last_log_id: Some(upto), ..SnapshotMeta::default() };
        self.snapshots.save(meta, &State::default()).unwrap();
        self.log.purge(upto).await.unwrap();
        held.purged = Some(upto);
        held.entries = held.entries.split_off(&(upto.index + 1));
        self.bytes = self.bytes.split_off(&(upto.index + 1));
        self.steps.push(held);
    }

    /// What happens between two syncs.
    async fn interval(&mut self) {
        self.purge_old().await;
        match self.random.random_range(0..100) {
            0..3 => self.vote().await,
            3..8 => self.truncate().await,
            // A follower that was behind.
            8..12 => self.append_some(64 << 10..256 << 10).await,
            12..30 => {}
            _ => self.append_some(200..16 << 10).await,
        }
        if self.random.random_bool(0.7) {
            self.commit_mark().await;
        }
    }

    async fn append_some(&mut self, range: std::ops::Range<usize>) {
        let bytes = self.random.random_range(range);
        self.append(bytes).await;
    }

    /// Perhaps with the power lost, or the process killed, before it or at any of the journal's own syncs; perhaps one of
    /// them fails.
    async fn sync(&mut self) -> bool {
        let log = self.folder.path().join("log");
        self.platter.borrow_mut().moments.clear();
        match self.random.random_range(0..10) {
            0..3 => {
                let moment = self.platter.borrow().moment(&log);
                self.lose_power(&moment).await;
                return false;
            }
            3 => {
                self.kill().await;
                return false;
            }
            _ => {}
        }
        self.platter.borrow_mut().good = self.random.random_bool(0.2).then(|| self.random.random_range(0..5));
        if self.store.make_durable().is_err() {
            self.kill().await;
            return false;
        }
        self.waiting.try_iter().for_each(|durable| durable(Ok(())));
        self.steps.drain(..self.steps.len() - 1);
        self.watermarks.push(watermark_of(&self.folder.contents()));
        self.platter.borrow_mut().moments.clear();
        if self.store.tidy_up().is_err() {
            self.kill().await;
            return true;
        }
        self.platter.borrow_mut().good = None;
        let mut moments = std::mem::take(&mut self.platter.borrow_mut().moments);
        let begun = !moments.is_empty();
        if begun && self.random.random_bool(0.7) {
            moments.push(self.platter.borrow().moment(&log));
            let moment = moments.swap_remove(self.random.random_range(0..moments.len()));
            self.lose_power(&moment).await;
        }
        begun
    }

    /// Nothing is lost by that, and what was written counts as durable once the store is open; until then, power loss may
    /// still take it.
    async fn kill(&mut self) {
        let steps = self.steps.clone();
        let folder = std::mem::replace(&mut self.folder, Folder::new());
        self.platter.borrow_mut().good = None;
        let elsewhere = open_short(&self.folder).unwrap();
        (self.log, self.snapshots, self.store, self.waiting) = elsewhere;
        let written = self.held().clone();
        self.platter.borrow_mut().moments.clear();
        self.reopen(folder).await;
        assert!(*self.held() == written);
        if self.random.random_bool(0.5) {
            self.steps = steps;
            let moments = std::mem::take(&mut self.platter.borrow_mut().moments);
            let left = moments[self.random.random_range(0..moments.len())].torn(&mut self.random);
            self.restart(left).await;
        }
    }

    async fn lose_power(&mut self, moment: &Moment) {
        let left = moment.torn(&mut self.random);
        self.restart(left).await;
        // And once more, while what was left is mended.
        if self.random.random_bool(0.3) {
            let moments = std::mem::take(&mut self.platter.borrow_mut().moments);
            let left = moments[self.random.random_range(0..moments.len())].torn(&mut self.random);
            self.restart(left).await;
        }
    }

    /// Goes on with what the power loss left of the log.
    async fn restart(&mut self, left: Files) {
        let log = self.folder.path().join("log");
        let mut files = self.folder.contents();
        files.retain(|name, _| !name.starts_with(&log));
        files.extend(left);
        // Not synced itself, it may be that of an earlier sync.
        let older = self.random.random_bool(0.3);
        let known = if older { self.random.random_range(0..self.watermarks.len()) } else { self.watermarks.len() - 1 };
        files.insert(self.folder.path().join("watermark"), self.watermarks[known].clone());
        let folder = Folder::new();
        for (name, bytes) in files {
            let path = folder.path().join(name.strip_prefix(self.folder.path()).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        self.platter = Platter::of(&folder);
        self.reopen(folder).await;
    }

    async fn reopen(&mut self, folder: Folder) {
        let opened =
            open_short(&folder).unwrap_or_else(|why| panic!("nothing that was synced is damaged, and yet: {why}"));
        self.folder = folder;
        (self.log, self.snapshots, self.store, self.waiting) = opened;
        let held = Held::of(&mut self.log).await;
        let Some(kept) = self.steps.iter().position(|step| *step == held) else {
            panic!("{:?} to {:?} is not what was acknowledged: {:?}", held.purged, held.last(), self.steps[0].last());
        };
        self.steps = vec![self.steps.swap_remove(kept)];
        self.bytes.clear();
        for (index, entry) in &held.entries {
            let EntryPayload::Normal(batch) = &entry.payload else { panic!("{entry:?}") };
            self.bytes.insert(*index, batch.entries().len() * COMMAND_BYTES);
        }
    }
}

fn watermark_of(files: &Files) -> Vec<u8> {
    files.iter().find(|(name, _)| name.ends_with("watermark")).unwrap().1.clone()
}

#[tokio::test]
async fn what_was_acknowledged_survives_power_loss() {
    let (mut begun, mut restarts) = (0, 0);
    for seed in 0..SEEDS {
        let mut load = Load::new(seed);
        for _ in 0..SYNCS {
            for _ in 0..load.random.random_range(1..4) {
                load.interval().await;
            }
            let folder = load.folder.path();
            begun += usize::from(load.sync().await);
            restarts += usize::from(load.folder.path() != folder);
        }
        let segments = fs::read_dir(load.folder.path().join("log")).unwrap().count();
        assert!(segments < 20, "seed {seed}: {segments} segments");
    }
    assert!(begun > 20 && restarts > 60, "{begun} segments begun, {restarts} power losses");
}
