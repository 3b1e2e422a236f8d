//! Snapshots on a disk that has no room for them.

use std::io::{self, Seek, SeekFrom, Write as _};

use futures_util::future::BoxFuture;

use super::*;
use crate::outside::{Commits, FileIn, FileOut, Files, Space};

/// The host's, with so much room, whatever it says of that itself.
#[derive(Clone, Copy, Debug)]
struct Small {
    says: Space,
    file_bytes_max: u64,
}

impl Disk for Small {
    fn look(&self, dir: &Path, missing: Missing) -> Result<Arc<dyn Store>, OpenError> {
        HostDisk.look(dir, missing)
    }

    fn open(&self, dir: &Path) -> Result<Arc<dyn Store>, OpenError> {
        HostDisk.open(dir)
    }

    fn commits(&self, store: Arc<dyn Store>) -> io::Result<Box<dyn Commits>> {
        HostDisk.commits(store)
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::new(SmallFiles { files: HostDisk.files(), bytes_max: self.file_bytes_max })
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        Ok(self.says)
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        HostDisk.block(work)
    }
}

#[derive(Debug)]
struct SmallFiles {
    files: Arc<dyn Files>,
    bytes_max: u64,
}

struct SmallFile {
    file: Box<dyn FileOut>,
    left: u64,
}

impl io::Write for SmallFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::StorageFull)?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for SmallFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Files for SmallFiles {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.make_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.files.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileOut>> {
        Ok(Box::new(SmallFile { file: self.files.create(path)?, left: self.bytes_max }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FileIn>> {
        self.files.open(path)
    }

    fn bytes(&self, path: &Path) -> io::Result<u64> {
        self.files.bytes(path)
    }

    fn make_durable(&self, path: &Path) -> io::Result<()> {
        self.files.make_durable(path)
    }

    fn make_names_durable(&self, dir: &Path) -> io::Result<()> {
        self.files.make_names_durable(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.remove(path)
    }
}

const AMPLE: Space = Space { free_bytes: 1 << 40, total_bytes: 1 << 41 };

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_snapshot_for_which_there_is_no_room_leaves_nothing_and_the_one_before_stays() {
    let folder = Folder::filled().await;
    let dir = folder.path().join("snapshots");
    let before = names(&dir);
    let meta = folder.open().snapshots.newest().unwrap().meta;
    let next = SnapshotMeta { last_log_id: Some(log_id(1, 1, 9)), ..meta };
    let full = |disk: Small| {
        let snapshots = Snapshots::open(Arc::new(disk), dir.clone(), None).unwrap();
        snapshots.save(next.clone(), &State::default()).unwrap_err().kind()
    };
    // It ends in the middle, and what was written would take the room of the log.
    assert_eq!(full(Small { says: AMPLE, file_bytes_max: 40 }), io::ErrorKind::StorageFull);
    assert_eq!(names(&dir), before);
    // It is not even begun where it would take what must stay free.
    let nearly_full = Space { free_bytes: 32 << 20, ..AMPLE };
    assert_eq!(full(Small { says: nearly_full, file_bytes_max: u64::MAX }), io::ErrorKind::StorageFull);
    assert_eq!(names(&dir), before);
}

#[tokio::test]
async fn what_a_crash_left_of_a_snapshot_is_gone_once_the_store_was_looked_at() {
    let folder = Folder::filled().await;
    let unfinished = folder.path().join("snapshots/received-0.tmp");
    fs::File::create(&unfinished).unwrap().write_all(b"half").unwrap();
    drop(HostDisk.look(&folder.path(), Missing::Refuse).unwrap());
    assert!(!unfinished.exists());
}
