//! What the journal does where a file does not do what it should.

use std::{
    os::unix::fs::MetadataExt,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use tempfile::TempDir;

use super::*;
use crate::storage::files::watched::{Sync, watch};

const SEGMENT_BYTES: u64 = 4 << 10;

fn made() -> TempDir {
    let dir = TempDir::new().unwrap();
    Journal::create(dir.path()).unwrap();
    dir
}

fn short(dir: &TempDir) -> Journal {
    Journal::open_with(dir.path(), SEGMENT_BYTES).unwrap()
}

fn put(number: u64, bytes: usize) -> Write {
    Write::Put { key: number.to_be_bytes().to_vec(), value: vec![7; bytes] }
}

fn sync(journal: &Journal) {
    journal.make_durable().unwrap();
    journal.tidy_up().unwrap();
}

fn segments(journal: &Journal) -> Vec<u64> {
    segment::names(&journal.log).unwrap()
}

#[test]
fn a_store_is_waited_for_until_it_is_let_go() {
    let dir = made();
    let held = short(&dir);
    let (tell, told) = mpsc::channel();
    let path = dir.path().to_owned();
    let opening = thread::spawn(move || tell.send(Journal::open(&path).map(drop)).unwrap());
    told.recv_timeout(Duration::from_millis(200)).expect_err("it is in use");
    drop(held);
    told.recv().unwrap().unwrap();
    opening.join().unwrap();
}

#[test]
fn what_an_earlier_process_wrote_is_written_anew_before_it_counts() {
    let dir = made();
    let journal = short(&dir);
    journal.write(vec![put(1, 100)]).unwrap();
    drop(journal);
    let path = dir.path().join("log/00000000000000000001.log");
    let before = fs::metadata(&path).unwrap().ino();
    let (tell, seen) = mpsc::channel();
    watch(move |sync| {
        let file = if let Sync::File(file) = sync { Some(file.metadata().unwrap().ino()) } else { None };
        tell.send(file).unwrap();
        Ok(())
    });
    let journal = short(&dir);
    let after = fs::metadata(&path).unwrap().ino();
    assert_ne!(before, after);
    // The file, then its name.
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Some(after), None]);
    assert_eq!(journal.get(&1_u64.to_be_bytes()).unwrap().unwrap(), [7; 100]);
    drop(journal);

    // And in its place, where there is no room for another file.
    let journal = Journal::look(dir.path()).unwrap();
    fs::create_dir(path.with_extension(files::UNFINISHED)).unwrap();
    journal.contents().newest().write_anew(&journal.log).unwrap();
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Some(after), None]);
    assert_eq!(journal.get(&1_u64.to_be_bytes()).unwrap().unwrap(), [7; 100]);
}

#[test]
fn nothing_is_written_or_made_durable_after_a_write_that_failed() {
    let dir = made();
    let journal = short(&dir);
    let path = dir.path().join("log/00000000000000000001.log");
    journal.write(vec![put(1, 100)]).unwrap();
    journal.contents().newest().file = Arc::new(File::open(&path).unwrap());
    journal.write(vec![put(2, 100)]).unwrap_err();
    journal.contents().newest().file = Arc::new(File::options().read(true).write(true).open(&path).unwrap());
    journal.write(vec![put(3, 100)]).unwrap_err();
    journal.make_durable().unwrap_err();
    assert_eq!(journal.get(&1_u64.to_be_bytes()).unwrap().unwrap(), [7; 100]);
    assert_eq!(journal.get(&2_u64.to_be_bytes()).unwrap(), None);
    drop(journal);
    assert_eq!(short(&dir).contents().number, 1);
}

#[test]
fn a_segment_that_gets_a_successor_ends_with_its_last_batch() {
    let dir = made();
    let journal = short(&dir);
    journal.write(vec![put(1, 5_000)]).unwrap();
    journal.contents().newest().file.write_all_at(b"part of a batch", 6_000).unwrap();
    sync(&journal);
    assert_eq!(segments(&journal).len(), 2);
    drop(journal);
    assert_eq!(short(&dir).get(&1_u64.to_be_bytes()).unwrap().unwrap(), [7; 5_000]);
}

#[test]
fn the_watermark_s_slots_hold_the_last_two_syncs() {
    let dir = made();
    let mut journal = short(&dir);
    for number in 1..=10 {
        if number == 6 {
            drop(journal);
            journal = short(&dir);
        }
        journal.write(vec![put(number, 10)]).unwrap();
        journal.write(vec![put(number, 20)]).unwrap();
        journal.make_durable().unwrap();
        let watermark = fs::read(dir.path().join("watermark")).unwrap();
        let slot = |at: usize| u64::from_be_bytes(watermark[at..at + 8].try_into().unwrap());
        assert_eq!(slot(0).min(slot(512)), 2 * number - 2);
        assert_eq!(slot(0).max(slot(512)), 2 * number);
    }
}

#[test]
fn a_log_goes_on_where_no_segment_can_be_begun() {
    let dir = made();
    let journal = short(&dir);
    fs::create_dir(dir.path().join("log/next.tmp")).unwrap();
    for number in 1..20 {
        journal.write(vec![put(number, 1_000)]).unwrap();
        sync(&journal);
    }
    assert_eq!(segments(&journal), [1]);
    fs::remove_dir(dir.path().join("log/next.tmp")).unwrap();
    journal.write(vec![put(20, 1_000)]).unwrap();
    sync(&journal);
    assert_eq!(segments(&journal).len(), 2);
    drop(journal);
    let journal = short(&dir);
    assert!((1..=20).all(|number: u64| journal.get(&number.to_be_bytes()).unwrap().is_some()));
}

#[test]
fn room_is_given_back_although_little_is_written() {
    let dir = made();
    let journal = short(&dir);
    for number in 1..=20 {
        journal.write(vec![put(number, 1_000)]).unwrap();
        sync(&journal);
    }
    let before = segments(&journal);
    assert!(before.len() >= 4, "{before:?}");
    journal.write((1..=20_u64).map(|number| Write::Delete { key: number.to_be_bytes().to_vec() }).collect()).unwrap();
    sync(&journal);
    let after = segments(&journal);
    assert!(after.len() <= 2, "{before:?}, then {after:?}");
}

#[test]
fn what_was_replaced_stays_until_what_replaces_it_has_its_name_for_sure() {
    let dir = made();
    let journal = short(&dir);
    for number in 1..=20 {
        journal.write(vec![put(number, 1_000)]).unwrap();
        sync(&journal);
    }
    journal.write((1..=20_u64).map(|number| Write::Delete { key: number.to_be_bytes().to_vec() }).collect()).unwrap();
    journal.make_durable().unwrap();
    watch(|sync| match sync {
        Sync::File(_) => Ok(()),
        Sync::Folder(_) => Err(io::Error::other("input/output error")),
    });
    journal.tidy_up().unwrap_err();
    let before = segments(&journal);
    drop(journal);
    let (tell, seen) = mpsc::channel();
    watch(move |sync| {
        if let Sync::Folder(log) = sync {
            tell.send(segment::names(log).unwrap()).unwrap();
        }
        Ok(())
    });
    let after = segments(&short(&dir));
    assert!(before.len() > 3 && after.len() <= 2, "{before:?}, then {after:?}");
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [before]);
}

#[test]
fn nobody_waits_for_a_sync_to_read_or_write() {
    let dir = made();
    let journal = Arc::new(short(&dir));
    let syncs = Arc::new(AtomicUsize::new(0));
    let (watched, counted) = (journal.clone(), syncs.clone());
    watch(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert!(watched.contents.try_lock().is_ok());
        watched.get(b"anything").unwrap();
        // The first attempts to begin a segment meet others who write on.
        if counted.load(Ordering::Relaxed) < 4 {
            watched.write(vec![put(2, 10)]).unwrap();
        }
        Ok(())
    });
    journal.write(vec![put(1, 5_000)]).unwrap();
    sync(&journal);
    assert_eq!(segments(&journal).len(), 2);
    assert!(syncs.load(Ordering::Relaxed) >= 5, "{syncs:?}");
    watch(|_| Ok(()));
    drop(journal);
    let journal = short(&dir);
    assert_eq!(journal.get(&2_u64.to_be_bytes()).unwrap().unwrap(), [7; 10]);
}
