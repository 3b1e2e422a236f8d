//! What the journal keeps while its segments come and go.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

const SEGMENT_BYTES: u64 = 4 << 10;

fn made() -> Folder {
    let folder = Folder::new();
    drop(folder.open());
    folder
}

fn short(folder: &Folder) -> Journal {
    Journal::open_with(&folder.path(), SEGMENT_BYTES).unwrap()
}

fn sync(journal: &Journal) {
    journal.make_durable().unwrap();
    journal.tidy_up().unwrap();
}

fn segments(folder: &Folder) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(folder.path().join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn numbered(number: u64, value: Vec<u8>) -> Write {
    Write::Put { key: number.to_be_bytes().to_vec(), value }
}

/// Many segments, with a value in the first that is written once and read for ever.
fn grown() -> Folder {
    let folder = made();
    let journal = short(&folder);
    journal.write(vec![Write::Put { key: b"kept".to_vec(), value: b"from the first".to_vec() }]).unwrap();
    for number in 0..40 {
        journal.write(vec![numbered(number, vec![7; 900])]).unwrap();
        sync(&journal);
    }
    drop(journal);
    assert!(segments(&folder).len() > 5);
    folder
}

#[test]
fn any_history_reads_as_a_map_before_and_after_a_restart() {
    let mut random = StdRng::seed_from_u64(1);
    let folder = made();
    let mut journal = short(&folder);
    let mut expected = BTreeMap::new();
    let mut begun = 0;
    for step in 0..3_000 {
        let batch: Vec<Write> = (0..random.random_range(1..4))
            .map(|_| match (u64::from(random.random::<u8>()), random.random_bool(0.4)) {
                (number, true) => Write::Delete { key: number.to_be_bytes().to_vec() },
                (number, false) => numbered(number, vec![random.random(); random.random_range(0..200)]),
            })
            .collect();
        for write in &batch {
            match write.clone() {
                Write::Put { key, value } => drop(expected.insert(key, value)),
                Write::Delete { key } => drop(expected.remove(&key)),
            }
        }
        journal.write(batch).unwrap();
        sync(&journal);
        begun = begun.max(segments(&folder).len());
        if step % 100 == 0 {
            drop(journal);
            journal = short(&folder);
            let all = journal.range(&[], &[0xFF], usize::MAX).unwrap();
            assert!(all.into_iter().eq(expected.clone()), "after {step} batches");
        }
    }
    assert!(begun > 3);
}

#[test]
fn endless_writes_and_deletions_take_a_bounded_room() {
    let folder = made();
    let journal = short(&folder);
    journal.write(vec![Write::Put { key: b"kept".to_vec(), value: b"from the first".to_vec() }]).unwrap();
    for number in 0..2_000_u64 {
        let deleted = number.checked_sub(20).map(|old| Write::Delete { key: old.to_be_bytes().to_vec() });
        let batch = deleted.into_iter().chain([numbered(number, vec![7; 500])]).collect();
        journal.write(batch).unwrap();
        sync(&journal);
        let bytes: u64 = segments(&folder).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        // Twice the twenty values that are left, and the segments that may be spared.
        assert!(bytes < 2 * 20 * 550 + 5 * SEGMENT_BYTES, "{bytes} bytes after {number}");
    }
    assert_eq!(journal.get(b"kept").unwrap().unwrap(), b"from the first");
}

#[test]
fn harm_to_any_segment_is_refused_and_nothing_is_changed() {
    let count = segments(&grown()).len();
    for place in 0..count {
        let harms: [(&str, Harm); 4] = [
            ("gone", |path| fs::remove_file(path).unwrap()),
            ("a byte", |path| {
                let mut bytes = fs::read(path).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            }),
            ("its beginning", |path| {
                fs::File::options().write(true).open(path).unwrap().write_all_at(&[0xA5; 64], 0).unwrap();
            }),
            ("cut short", |path| {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() - 1).unwrap();
            }),
        ];
        for (name, harm) in harms {
            let folder = grown();
            // The newest is empty where one was just begun; the one before it then is the last with anything in it.
            if place + 1 == count && fs::metadata(&segments(&folder)[place]).unwrap().len() < 100 {
                continue;
            }
            harm(&segments(&folder)[place]);
            let before = folder.contents();
            let refused = Journal::open(&folder.path()).map(drop).expect_err(name).to_string();
            assert!(refused.contains("is damaged"), "{name} of segment {place}: {refused}");
            assert!(before == folder.contents(), "{name} of segment {place}");
        }
    }
}
