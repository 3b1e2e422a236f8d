//! What power loss leaves of writes that nobody was told are durable: none of them, some, or half of one.

use super::*;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Torn {
    /// The disk never got it.
    Zeros,
    /// Something else had been there.
    Rubbish,
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_what_was_acknowledged_stays() {
    let folder = Folder::new();
    let mut opened = folder.open();
    opened.log.save_vote(&Vote::new(1, 1)).await.unwrap();
    opened.log.blocking_append((0..10).map(|index| blank_ent::<TypeConfig>(1, 1, index))).await.unwrap();
    let (db, watermark) = (folder.path().join(SEGMENT), folder.path().join("watermark"));
    let (acknowledged, reached) = (written_bytes(&db) + 1, fs::read(&watermark).unwrap());
    opened.log.blocking_append((10..30).map(|index| blank_ent::<TypeConfig>(1, 1, index))).await.unwrap();
    let written = written_bytes(&db) + 1;
    assert!(written > acknowledged + 200, "{acknowledged} to {written}");

    let mut kept = std::collections::BTreeSet::new();
    for torn in [Torn::Zeros, Torn::Rubbish] {
        for at in (acknowledged..=written).step_by(97) {
            let after = Folder::new();
            copy(&folder.path(), &after.path());
            fs::write(after.path().join("watermark"), &reached).unwrap();
            let file = fs::File::options().write(true).open(after.path().join(SEGMENT)).unwrap();
            let rest = usize::try_from(written - at).unwrap();
            let left = match torn {
                Torn::Zeros => vec![0; rest],
                Torn::Rubbish => (0..rest).map(|place| (place * 31 + 7) as u8).collect(),
            };
            file.write_all_at(&left, at).unwrap();
            let mut opened = open(&disk(), &after.path(), Missing::Refuse)
                .unwrap_or_else(|why| panic!("{torn:?} from {at} of {acknowledged} to {written}: {why}"));
            let last = opened.log.get_log_state().await.unwrap().last_log_id.unwrap().index;
            let entries = opened.log.try_get_log_entries(..).await.unwrap();
            assert_eq!(entries, (0..=last).map(|index| blank_ent::<TypeConfig>(1, 1, index)).collect::<Vec<_>>());
            assert!(last >= 9, "{torn:?} from {at}: entry {last} is the last");
            // And goes on behind the cut.
            opened.log.blocking_append([blank_ent::<TypeConfig>(1, 1, last + 1)]).await.unwrap();
            kept.insert(last);
            drop(opened);
            let reopened = after.open().log.get_log_state().await.unwrap().last_log_id;
            assert_eq!(reopened, Some(log_id(1, 1, last + 1)));
        }
    }
    assert!(kept.contains(&9), "nothing was cut: {kept:?}");
}
