//! Power loss at any moment of a load like a manager's.
//!
//! What was synced is on the disk. Of what was written since, each sector may be there or not, whatever came first, and
//! so may a file's new length, a new name, and what was removed. The store must then open with everything that was
//! acknowledged, identical, and with nothing but whole batches behind it; and so again, as often as the power fails.

use std::sync::mpsc;

use futures_util::poll;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{outside::Commits, raft::LogId, storage::commit::Durable};

const SECTOR_BYTES: usize = 512;
/// Of a command as it is written.
const COMMAND_BYTES: usize = 80;
/// A short load is to begin many segments, and to let go of as many.
const SEGMENT_BYTES: u64 = 64 << 10;
/// The log is purged where its entries are more.
const KEPT_BYTES_MAX: usize = 200 << 10;
const SEEDS: u64 = 4;
const SYNCS: usize = 80;

type Files = BTreeMap<PathBuf, Vec<u8>>;

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
    /// What the last sync made durable.
    synced: Files,
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
        let (log, snapshots, store, waiting) = open_short(&folder).unwrap();
        let (steps, synced) = (vec![Held::default()], folder.contents());
        let watermarks = vec![watermark_of(&synced)];
        let (random, bytes) = (StdRng::seed_from_u64(seed), BTreeMap::new());
        Self { folder, random, log, snapshots, store, waiting, term: 1, bytes, steps, synced, watermarks }
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

    /// Perhaps with a power loss before it, and perhaps with one while it begins a segment.
    async fn sync(&mut self) -> bool {
        let written = self.folder.contents();
        if self.random.random_bool(0.3) {
            let left = self.torn(&self.synced.clone(), &written);
            self.restart(left).await;
            return false;
        }
        self.store.make_durable().unwrap();
        self.waiting.try_iter().for_each(|durable| durable(Ok(())));
        self.steps.drain(..self.steps.len() - 1);
        self.synced = self.folder.contents();
        self.watermarks.push(watermark_of(&self.synced));
        let begun = !self.synced.keys().eq(written.keys());
        if begun && self.random.random_bool(0.5) {
            let left = self.half_begun(&written);
            self.restart(left).await;
        }
        begun
    }

    /// The end of the newest segment, with any part of what was not synced.
    fn torn(&mut self, before: &Files, after: &Files) -> Files {
        let mut left = after.clone();
        for (name, after) in left.iter_mut().filter(|(name, _)| name.starts_with(self.folder.path().join("log"))) {
            *after = torn_file(before.get(name).map_or(&[], |bytes| bytes), after, &mut self.random);
        }
        left
    }

    /// While a segment was begun: its name may not be there yet, or what it replaces not gone yet.
    fn half_begun(&mut self, written: &Files) -> Files {
        let begun = self.synced.clone();
        if self.random.random_bool(0.5) {
            let mut left = written.clone();
            for (name, bytes) in &mut left {
                if let Some(begun) = begun.get(name) {
                    bytes.clone_from(begun);
                }
            }
            let mut left = self.torn(written, &left);
            left.insert(self.folder.path().join("log/begun.tmp"), b"half".to_vec());
            return left;
        }
        let mut left = begun.clone();
        for (name, bytes) in written {
            if !begun.contains_key(name) && self.random.random_bool(0.5) {
                left.insert(name.clone(), bytes.clone());
            }
        }
        left
    }

    /// Goes on with what the power loss left.
    async fn restart(&mut self, mut left: Files) {
        // Not synced itself, it may be that of an earlier sync.
        let older = self.random.random_bool(0.3);
        let known = if older { self.random.random_range(0..self.watermarks.len()) } else { self.watermarks.len() - 1 };
        left.insert(self.folder.path().join("watermark"), self.watermarks[known].clone());
        let folder = Folder::new();
        for (name, bytes) in left {
            let path = folder.path().join(name.strip_prefix(self.folder.path()).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
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
        self.synced = self.folder.contents();
    }
}

fn watermark_of(files: &Files) -> Vec<u8> {
    files.iter().find(|(name, _)| name.ends_with("watermark")).unwrap().1.clone()
}

fn torn_file(before: &[u8], after: &[u8], random: &mut StdRng) -> Vec<u8> {
    let length = if random.random_bool(0.3) { before.len() } else { after.len() };
    let (share, run) = ([0.05, 0.5, 0.95][random.random_range(0..3)], [1, 8, 128][random.random_range(0..3)]);
    let mut left = before.to_vec();
    left.resize(length, 0);
    let mut kept = true;
    for (sector, place) in (0..length).step_by(SECTOR_BYTES).enumerate() {
        if sector % run == 0 {
            kept = random.random_bool(share);
        }
        if kept {
            let end = (place + SECTOR_BYTES).min(length);
            left[place..end].copy_from_slice(&after[place..end]);
        }
    }
    left
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
