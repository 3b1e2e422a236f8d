//! Files: bytes and names, each durable only once synced. A crash keeps part of the bytes that were not, and of the
//! names' changes as many from the first as luck will have.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_manager::outside::{FileIn, FileOut, Files};

use crate::{chance::Chance, disk::Inner};

type Names = BTreeMap<PathBuf, u64>;

#[derive(Debug, Default)]
pub(crate) struct FilesImage {
    made: u64,
    bytes: BTreeMap<u64, Bytes>,
    now: Names,
    durable: Names,
    unsynced: Vec<Change>,
}

#[derive(Debug, Default)]
struct Bytes {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Change {
    Name(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

fn change(names: &mut Names, change: &Change) {
    match change {
        Change::Name(path, file) => drop(names.insert(path.clone(), *file)),
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Change::Remove(path) => drop(names.remove(path)),
    }
}

impl FilesImage {
    fn make(&mut self, more: Change) {
        change(&mut self.now, &more);
        self.unsynced.push(more);
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        self.now.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn crash(&mut self, chance: &Chance) {
        for bytes in self.bytes.values_mut().filter(|bytes| bytes.now != bytes.durable) {
            let kept = usize::try_from(chance.below(bytes.now.len() as u64 + 1)).unwrap_or(0);
            // What is written anew over synced bytes may be there in part; here, from the front.
            let rest = bytes.durable.get(kept..).map(<[u8]>::to_vec).unwrap_or_default();
            bytes.now.truncate(kept);
            bytes.now.extend(rest);
            bytes.durable = bytes.now.clone();
        }
        let kept = chance.below(self.unsynced.len() as u64 + 1);
        for more in self.unsynced.drain(..).take(usize::try_from(kept).unwrap_or(0)) {
            change(&mut self.durable, &more);
        }
        self.now = self.durable.clone();
        let named: Vec<u64> = self.now.values().copied().collect();
        self.bytes.retain(|file, _| named.contains(file));
    }
}

#[derive(Debug)]
pub(super) struct SimFiles(pub(super) Arc<Inner>);

impl Files for SimFiles {
    fn make_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.0.platter().files.now.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileOut>> {
        self.0.step("the making of a file")?;
        let files = &mut self.0.platter().files;
        files.made += 1;
        let file = files.made;
        files.bytes.insert(file, Bytes::default());
        files.make(Change::Name(path.to_owned(), file));
        Ok(Box::new(Open { disk: self.0.clone(), file, place: 0 }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FileIn>> {
        let files = &self.0.platter().files;
        let bytes = files.bytes.get(&files.file(path)?).map(|bytes| bytes.now.clone()).unwrap_or_default();
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn bytes(&self, path: &Path) -> io::Result<u64> {
        let mut bytes = Vec::new();
        Ok(self.open(path)?.read_to_end(&mut bytes)? as u64)
    }

    fn make_durable(&self, path: &Path) -> io::Result<()> {
        self.0.sync("a sync of a snapshot")?;
        let files = &mut self.0.platter().files;
        let file = files.file(path)?;
        if let Some(bytes) = files.bytes.get_mut(&file) {
            bytes.durable = bytes.now.clone();
        }
        Ok(())
    }

    fn make_names_durable(&self, _dir: &Path) -> io::Result<()> {
        self.0.sync("a sync of the snapshots' folder")?;
        let files = &mut self.0.platter().files;
        for more in std::mem::take(&mut files.unsynced) {
            change(&mut files.durable, &more);
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step("a renaming")?;
        let files = &mut self.0.platter().files;
        files.file(from)?;
        files.make(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.step("a removal")?;
        let files = &mut self.0.platter().files;
        files.file(path)?;
        files.make(Change::Remove(path.to_owned()));
        Ok(())
    }
}

/// A file that is being written.
struct Open {
    disk: Arc<Inner>,
    file: u64,
    place: u64,
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.step("a write to a file")?;
        let files = &mut self.disk.platter().files;
        let held = files.bytes.entry(self.file).or_default();
        let mut cursor = Cursor::new(&mut held.now);
        cursor.set_position(self.place);
        let written = cursor.write(bytes)?;
        self.place += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Open {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.place = match to {
            SeekFrom::Start(place) => place,
            SeekFrom::End(_) | SeekFrom::Current(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(self.place)
    }
}
