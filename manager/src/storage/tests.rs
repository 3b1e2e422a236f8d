//! The storage as openraft uses it, and what it says when a folder is not as it was left.

mod power;
mod room;
mod segments;
mod torn;

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use muster_core::{
    command::{self, Command, LOG_FORMAT},
    state::State,
};
use muster_proto::{id::ServiceId, time::Timestamp};
use openraft::{
    EntryPayload, RaftLogReader, RaftSnapshotBuilder,
    entry::RaftEntry,
    storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine},
    testing::{StoreBuilder, Suite, blank_ent, log_id},
};
use tempfile::TempDir;

use super::*;
use crate::{
    machine::Machine,
    raft::{Batch, SnapshotMeta, TypeConfig, Vote},
    storage::{
        disk::HostDisk,
        files::watched::{Sync, watch},
        log::LIMITED_BYTES_MAX,
        store::Write,
    },
};

type Entry = openraft::Entry<TypeConfig>;

/// Of a young log, the only one.
const SEGMENT: &str = "log/00000000000000000001.log";

/// What a user is to do about a store that is lost.
const GO_ON: &str = "where the cluster has other managers, run `muster node rm --force` for this node on one of them, \
    move the data folder DATA away and join again with a token; where this was the only one, move it away and restore a \
    backup with `muster restore`, or begin anew with `muster init`";

fn disk() -> Arc<dyn Disk> {
    Arc::new(HostDisk)
}

struct Folder {
    parent: TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { parent: TempDir::new().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.parent.path().join("manager")
    }

    fn open(&self) -> Opened {
        open(&disk(), &self.path(), Missing::Create).unwrap()
    }

    fn refused(&self) -> String {
        let refused = open(&disk(), &self.path(), Missing::Refuse).unwrap_err().to_string();
        let refused = refused.replace(&self.path().display().to_string(), "DIR");
        refused.replace(&self.parent.path().display().to_string(), "DATA")
    }

    /// Entries 0 to 9 of term 1, a vote, a commit mark and a purge up to 2.
    async fn filled() -> Self {
        let folder = Self::new();
        let mut opened = folder.open();
        opened.log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
        opened.log.blocking_append((0..10).map(|index| blank_ent::<TypeConfig>(1, 1, index))).await.unwrap();
        opened.log.save_committed(Some(log_id(1, 1, 8))).await.unwrap();
        let mut machine = Machine::new(opened.snapshots, opened.log.failure().clone());
        let entries = opened.log.try_get_log_entries(0..9).await.unwrap();
        machine.apply(entries).await.unwrap();
        machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
        opened.log.purge(log_id(1, 1, 2)).await.unwrap();
        opened.log.blocking_append([blank_ent::<TypeConfig>(1, 1, 10)]).await.unwrap();
        folder
    }

    /// Every file under the folder.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.path()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(files.insert(path.clone(), fs::read(path).unwrap())),
                }
            }
        }
        files
    }

    fn change(&self, change: impl FnOnce(&Journal)) {
        let store = Journal::open(&self.path()).unwrap();
        change(&store);
        store.make_durable().unwrap();
    }
}

use crate::storage::store::Store;

struct Builder;

impl StoreBuilder<TypeConfig, Log, Machine, Folder> for Builder {
    async fn build(&self) -> Result<(Folder, Log, Machine), crate::raft::StorageError> {
        let folder = Folder::new();
        let opened = folder.open();
        let machine = Machine::new(opened.snapshots, opened.log.failure().clone());
        Ok((folder, opened.log, machine))
    }
}

#[test]
fn openraft_s_own_suite_passes() {
    Suite::test_all(Builder).unwrap();
}

#[tokio::test]
async fn nothing_is_lost_by_a_restart() {
    let folder = Folder::filled().await;
    let mut opened = folder.open();
    // The promise, not the reign: who led has applied less than it acknowledged, and must be elected anew.
    assert_eq!(opened.log.read_vote().await.unwrap(), Some(Vote::new(1, 1)));
    assert_eq!(opened.log.read_committed().await.unwrap(), Some(log_id(1, 1, 8)));
    let ends = opened.log.get_log_state().await.unwrap();
    assert_eq!((ends.last_purged_log_id, ends.last_log_id), (Some(log_id(1, 1, 2)), Some(log_id(1, 1, 10))));
    let kept = opened.log.try_get_log_entries(..).await.unwrap();
    assert_eq!(kept, (3..=10).map(|index| blank_ent::<TypeConfig>(1, 1, index)).collect::<Vec<_>>());
    assert_eq!(opened.snapshots.newest().unwrap().meta.last_log_id, Some(log_id(1, 1, 8)));
}

#[tokio::test]
async fn truncated_entries_stay_away() {
    let folder = Folder::filled().await;
    let mut opened = folder.open();
    opened.log.truncate(log_id(1, 1, 9)).await.unwrap();
    opened.log.blocking_append([Entry::new_blank(log_id(2, 1, 9))]).await.unwrap();
    drop(opened);
    let mut opened = folder.open();
    let kept = opened.log.try_get_log_entries(8..).await.unwrap();
    assert_eq!(kept, [blank_ent::<TypeConfig>(1, 1, 8), blank_ent(2, 1, 9)]);
}

#[tokio::test]
async fn a_log_that_a_snapshot_has_overtaken_keeps_nothing_of_its_own() {
    let folder = Folder::filled().await;
    let mut opened = folder.open();
    // Of a later term, and not beyond what this log has: nobody else has entries 6 to 10.
    opened.log.purge(log_id(2, 1, 8)).await.unwrap();
    opened.log.save_vote(&Vote::new(2, 1)).await.unwrap();
    assert_eq!(opened.log.try_get_log_entries(..).await.unwrap(), []);
    let mut machine = Machine::new(opened.snapshots.clone(), opened.log.failure().clone());
    machine.apply([blank_ent::<TypeConfig>(2, 1, 8)]).await.unwrap();
    machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    drop((machine, opened));
    let ends = folder.open().log.get_log_state().await.unwrap();
    assert_eq!((ends.last_purged_log_id, ends.last_log_id), (Some(log_id(2, 1, 8)), Some(log_id(2, 1, 8))));
}

#[tokio::test]
async fn entries_for_a_follower_begin_where_they_were_asked_for() {
    let folder = Folder::filled().await;
    let mut opened = folder.open();
    assert_eq!(opened.log.limited_get_log_entries(3, 5).await.unwrap().len(), 2);
    opened.log.limited_get_log_entries(2, 5).await.expect_err("entry 2 is purged, and a log has no holes");
}

#[tokio::test]
async fn entries_to_send_are_bounded_in_bytes_and_never_none() {
    let folder = Folder::new();
    let mut opened = folder.open();
    let command = Command::RemoveService { id: ServiceId::from_bits(1) };
    let one = command::Entry { format: LOG_FORMAT, at: Timestamp::EPOCH, request: None, command };
    let large = |index| Entry {
        log_id: log_id(1, 1, index),
        payload: EntryPayload::Normal(Batch::new(vec![one.clone(); 30_000])),
    };
    opened.log.blocking_append((0..4).map(large)).await.unwrap();
    let sent = opened.log.limited_get_log_entries(1, 4).await.unwrap();
    assert!((1..3).contains(&sent.len()), "{} entries", sent.len());
    assert_eq!(sent[0], large(1));

    let appended = opened.log.appended().bytes();
    assert!(appended > LIMITED_BYTES_MAX as u64, "{appended} bytes");
    drop(opened);
    assert_eq!(folder.open().log.appended().bytes(), appended);
}

#[tokio::test]
async fn a_changed_byte_in_any_kind_of_record_is_refused() {
    let folder = Folder::filled().await;
    let mut entry = b"l".to_vec();
    entry.extend([0, 0, 0, 0, 0, 0, 0, 5, 0, 0]);
    for (key, said) in [
        (b"v".to_vec(), "the vote does not add up"),
        (b"c".to_vec(), "the commit mark does not add up"),
        (b"p".to_vec(), "the purge mark does not add up"),
        (entry, "entry 5 does not add up"),
    ] {
        let mut whole = Vec::new();
        folder.change(|store| {
            whole = store.get(&key).unwrap().unwrap();
            let mut value = whole.clone();
            *value.last_mut().unwrap() ^= 1;
            store.write(vec![Write::Put { key: key.clone(), value }]).unwrap();
        });
        assert_eq!(folder.refused(), format!("the store in DIR is damaged: {said}; {GO_ON}"));
        folder.change(|store| store.write(vec![Write::Put { key, value: whole }]).unwrap());
        folder.open();
    }
}

#[tokio::test]
async fn a_missing_entry_is_refused() {
    let folder = Folder::filled().await;
    let mut key = b"l".to_vec();
    key.extend([0, 0, 0, 0, 0, 0, 0, 5, 0, 0]);
    folder.change(|store| store.write(vec![Write::Delete { key }]).unwrap());
    assert!(folder.refused().starts_with("the store in DIR is damaged: entry 5 is missing;"));
}

#[tokio::test]
async fn a_log_that_ends_too_early_is_refused() {
    let folder = Folder::filled().await;
    let keys = |index| [b"l".as_slice(), &[0, 0, 0, 0, 0, 0, 0, index, 0, 0]].concat();
    folder.change(|store| store.write((8..=10).map(|index| Write::Delete { key: keys(index) }).collect()).unwrap());
    assert!(folder.refused().contains("it ends before entry 8, which was committed"), "{}", folder.refused());
}

#[tokio::test]
async fn an_entry_of_a_newer_format_is_refused() {
    let folder = Folder::filled().await;
    let mut opened = folder.open();
    let command = Command::RemoveService { id: ServiceId::from_bits(1) };
    let newer = command::Entry { format: LOG_FORMAT + 1, at: Timestamp::EPOCH, request: None, command };
    let payload = EntryPayload::Normal(Batch::new(vec![newer]));
    opened.log.blocking_append([Entry { log_id: log_id(1, 1, 11), payload: payload.clone() }]).await.unwrap();
    assert!(opened.log.try_get_log_entries(11..12).await.is_err());

    let mut machine = Machine::new(opened.snapshots, opened.log.failure().clone());
    let before = machine.applied_state().await.unwrap();
    machine.apply([Entry { log_id: log_id(1, 1, 11), payload }]).await.unwrap_err();
    assert_eq!(machine.applied_state().await.unwrap(), before);
    drop((machine, opened.log));
    assert_eq!(
        folder.refused(),
        format!(
            "the log in DIR has an entry of format {}, this muster reads {LOG_FORMAT}; run the muster version that wrote it",
            LOG_FORMAT + 1
        )
    );
}

#[tokio::test]
async fn a_folder_of_another_format_is_refused() {
    let folder = Folder::filled().await;
    fs::write(folder.path().join(MARKER), "muster store\nformat 1\n").unwrap();
    assert_eq!(
        folder.refused(),
        "the store in DIR was written by format 1, this muster reads 2; run the muster version that wrote it"
    );
    fs::write(folder.path().join(MARKER), "something else\n").unwrap();
    assert!(folder.refused().contains("its file STORE is not what muster wrote"));
    fs::write(folder.path().join(MARKER), b"\xff\xfe").unwrap();
    assert!(folder.refused().contains("its file STORE is not what muster wrote"));
}

#[test]
fn a_store_that_is_missing_is_not_begun_anew() {
    let folder = Folder::new();
    assert_eq!(folder.refused(), format!("the store DIR is missing; {GO_ON}"));
    assert!(!folder.path().exists());
}

#[tokio::test]
async fn parts_that_were_removed_are_missed() {
    for (part, said) in
        [(SEGMENT, "its log is gone"), ("watermark", "its file watermark is gone"), (MARKER, "its file STORE is gone")]
    {
        let folder = Folder::filled().await;
        fs::remove_file(folder.path().join(part)).unwrap();
        assert!(folder.refused().contains(said), "{part}: {}", folder.refused());
        // Nor does `init` start empty over it.
        assert!(open(&disk(), &folder.path(), Missing::Create).is_err());
    }
    let folder = Folder::filled().await;
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    assert!(folder.refused().contains("its log is gone"));
    let folder = Folder::filled().await;
    fs::remove_dir_all(folder.path().join("snapshots")).unwrap();
    assert!(folder.refused().contains("the snapshot that its log goes on from is gone"), "{}", folder.refused());
}

#[tokio::test]
async fn a_truncated_log_file_is_refused_at_any_length() {
    for divisor in [2, 3, 5, 17] {
        let folder = Folder::filled().await;
        let db = fs::File::options().write(true).open(folder.path().join(SEGMENT)).unwrap();
        let written = written_bytes(&folder.path().join(SEGMENT));
        db.set_len(written / divisor).unwrap();
        let refused = folder.refused();
        assert!(refused.starts_with("the store in DIR is damaged: "), "1/{divisor}: {refused}");
    }
    let folder = Folder::filled().await;
    fs::File::create(folder.path().join(SEGMENT)).unwrap();
    assert!(folder.refused().contains("its log cannot be read"));
}

/// What a test does to a store's folder.
type Harm = fn(&Path);

#[tokio::test]
async fn a_refused_store_is_left_as_it_was() {
    fn garble(db: &Path, from: u64, bytes: usize) {
        let file = fs::File::options().write(true).open(db).unwrap();
        file.write_all_at(&vec![0xA5; bytes], from).unwrap();
    }
    fn cut(db: &Path, divisor: u64) {
        fs::File::options().write(true).open(db).unwrap().set_len(written_bytes(db) / divisor).unwrap();
    }
    let harms: [(&str, Harm); 12] = [
        ("an empty log", |dir| drop(fs::File::create(dir.join(SEGMENT)).unwrap())),
        ("half a log", |dir| cut(&dir.join(SEGMENT), 2)),
        ("a fifth of a log", |dir| cut(&dir.join(SEGMENT), 5)),
        ("no log", |dir| fs::remove_file(dir.join(SEGMENT)).unwrap()),
        ("another format", |dir| fs::write(dir.join(MARKER), "muster store\nformat 7\n").unwrap()),
        ("no marker", |dir| fs::remove_file(dir.join(MARKER)).unwrap()),
        ("no watermark", |dir| fs::remove_file(dir.join("watermark")).unwrap()),
        ("a garbled watermark", |dir| garble(&dir.join("watermark"), 0, 1_024)),
        ("no snapshots", |dir| fs::remove_dir_all(dir.join("snapshots")).unwrap()),
        ("a garbled first page", |dir| garble(&dir.join(SEGMENT), 0, 4_096)),
        ("a garbled header", |dir| garble(&dir.join(SEGMENT), 0, 20)),
        ("a garbled middle", |dir| {
            let db = dir.join(SEGMENT);
            garble(&db, written_bytes(&db) / 2, 200);
        }),
    ];
    for (name, harm) in harms {
        let folder = Folder::filled().await;
        harm(&folder.path());
        let before = folder.contents();
        for missing in [Missing::Refuse, Missing::Create] {
            let refused = open(&disk(), &folder.path(), missing).map(drop).expect_err(name).to_string();
            let after = folder.contents();
            assert!(before.keys().eq(after.keys()), "{name}: {:?}", after.keys());
            assert!(before == after, "{name} ({refused}): a file has changed");
        }
    }
}

fn written_bytes(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64
}

#[tokio::test]
async fn two_daemons_do_not_share_a_folder() {
    let folder = Folder::new();
    let _opened = folder.open();
    assert_eq!(folder.refused(), "another muster daemon uses DIR; stop it, or choose another folder with --data-dir");
}

#[tokio::test]
async fn making_a_folder_can_be_cut_short_anywhere() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path().join("snapshots")).unwrap();
    folder.open();
    let folder = Folder::new();
    fs::create_dir_all(folder.path()).unwrap();
    let watermark = folder.path().join("watermark");
    for torn in ["", "torn"] {
        Journal::create(&folder.path()).unwrap();
        fs::write(&watermark, torn).unwrap();
    }
    fs::write(folder.path().join("log/next.tmp"), "torn").unwrap();
    Journal::create(&folder.path()).unwrap();
    fs::remove_file(&watermark).unwrap();
    Journal::create(&folder.path()).unwrap();
    folder.open();
    open(&disk(), &folder.path(), Missing::Refuse).unwrap();
}

#[test]
fn a_log_is_there_for_sure_before_its_marker_says_so() {
    let folder = Folder::new();
    let (log, marker) = (folder.path().join(journal::LOG), folder.path().join(MARKER));
    let (tell, seen) = std::sync::mpsc::channel();
    watch(move |sync| {
        if let Sync::Folder(of) = sync
            && *of == log
        {
            tell.send(log.read_dir().unwrap().count() > 0 && !marker.exists()).unwrap();
        }
        Ok(())
    });
    create(&folder.path()).unwrap();
    assert!(seen.try_iter().any(|before| before));
}

#[test]
fn a_file_in_the_folder_s_place_is_named() {
    let folder = Folder::new();
    fs::write(folder.path(), "").unwrap();
    let refused = open(&disk(), &folder.path(), Missing::Create).unwrap_err().to_string();
    assert!(refused.contains("cannot be used (") && refused.contains("--data-dir"), "{refused}");
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_where_the_log_does_not_reach_back() {
    let folder = Folder::filled().await;
    let newest = Arc::clone(&folder.open().snapshots).newest().unwrap().path;
    let whole = fs::read(&newest).unwrap();
    for place in [0, 9, 14, 20, 29, 40, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(&newest, changed).unwrap();
        let refused = folder.refused();
        assert!(refused.contains("snapshot does not add up;"), "byte {place}: {refused}");
    }
    fs::write(&newest, &whole[..whole.len() - 1]).unwrap();
    assert!(folder.refused().contains("is cut short"));
}

#[tokio::test]
async fn two_snapshots_are_kept_and_the_older_one_serves_where_the_log_reaches_back() {
    let folder = Folder::filled().await;
    let opened = folder.open();
    let mut machine = Machine::new(opened.snapshots.clone(), opened.log.failure().clone());
    for index in 9..=12 {
        machine.apply([blank_ent::<TypeConfig>(1, 1, index)]).await.unwrap();
        machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    }
    let newest = opened.snapshots.newest().unwrap();
    assert_eq!(newest.meta.last_log_id, Some(log_id(1, 1, 12)));
    assert_eq!(fs::read_dir(folder.path().join("snapshots")).unwrap().count(), 2);
    drop((machine, opened));
    fs::write(&newest.path, "damaged").unwrap();
    assert_eq!(folder.open().snapshots.newest().unwrap().meta.last_log_id, Some(log_id(1, 1, 11)));
}
