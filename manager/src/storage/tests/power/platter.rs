//! A disk that has for sure only what was synced.

use std::{cell::RefCell, io, os::unix::fs::MetadataExt, rc::Rc};

use rand::{Rng, rngs::StdRng};

use super::super::*;

const SECTOR_BYTES: usize = 512;

pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;
type Inode = u64;

/// The log's folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment {
    /// What the disk has for sure: the names at the last sync of the folder...
    names: BTreeMap<PathBuf, Inode>,
    /// ...and each file's bytes at its own.
    bytes: BTreeMap<Inode, Vec<u8>>,
    now: BTreeMap<PathBuf, (Inode, Vec<u8>)>,
}

/// What the syncs that the journal really makes leave on the disk.
#[derive(Debug, Default)]
pub(super) struct Platter {
    sure: Moment,
    /// Before each sync, until the test takes them.
    pub(super) moments: Vec<Moment>,
    /// So many syncs succeed before one fails.
    pub(super) good: Option<usize>,
    /// Whose sync failed: what they had not written stays unwritten, whatever a later sync says.
    failed: Vec<Inode>,
    /// So that no other file gets the number of one that was seen.
    open: BTreeMap<Inode, fs::File>,
}

pub(super) type Shared = Rc<RefCell<Platter>>;

fn read_log(log: &Path) -> BTreeMap<PathBuf, (Inode, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(log) else { return BTreeMap::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap()))).collect()
}

impl Platter {
    /// Of a folder that is on the disk as it is; from here on each sync shows.
    pub(super) fn of(folder: &Folder) -> Shared {
        let log = folder.path().join("log");
        let now = read_log(&log);
        let names = now.iter().map(|(path, (inode, _))| (path.clone(), *inode)).collect();
        let bytes = now.into_values().collect();
        let sure = Moment { names, bytes, now: BTreeMap::new() };
        let platter = Rc::new(RefCell::new(Self { sure, ..Self::default() }));
        let watched = platter.clone();
        watch(move |sync| watched.borrow_mut().before(sync, &log));
        platter
    }

    pub(super) fn moment(&self, log: &Path) -> Moment {
        Moment { now: read_log(log), ..self.sure.clone() }
    }

    fn before(&mut self, sync: &Sync<'_>, log: &Path) -> io::Result<()> {
        let moment = self.moment(log);
        for (path, (inode, _)) in &moment.now {
            self.open.entry(*inode).or_insert_with(|| fs::File::open(path).unwrap());
        }
        let fails = self.good == Some(0);
        self.good = self.good.and_then(|good| good.checked_sub(1));
        match sync {
            Sync::File(file) => {
                let about = file.metadata().unwrap();
                if moment.now.values().all(|(inode, _)| *inode != about.ino()) {
                    return Ok(());
                }
                if fails {
                    self.failed.push(about.ino());
                }
                let mut bytes = vec![0; usize::try_from(about.len()).unwrap()];
                file.read_exact_at(&mut bytes, 0).unwrap();
                if !self.failed.contains(&about.ino()) {
                    self.sure.bytes.insert(about.ino(), bytes);
                }
            }
            Sync::Folder(folder) if *folder == log && !fails => {
                self.sure.names = moment.now.iter().map(|(path, (inode, _))| (path.clone(), *inode)).collect();
                let kept: Vec<Inode> = moment.now.values().map(|(inode, _)| *inode).collect();
                self.sure.bytes.retain(|inode, _| kept.contains(inode));
            }
            Sync::Folder(_) => {}
        }
        self.moments.push(moment);
        if fails { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }
}

impl Moment {
    /// Of what is not there for sure, anything may be: parts of files, names, and files that were removed.
    pub(super) fn torn(&self, random: &mut StdRng) -> Files {
        let mut left = Files::new();
        let none = Vec::new();
        let sure = |inode: &Inode| self.bytes.get(inode).unwrap_or(&none);
        for name in self.names.keys().chain(self.now.keys()) {
            let (before, after) = (self.names.get(name), self.now.get(name));
            let replaced = before != after.map(|(inode, _)| inode);
            if let Some(inode) = before.filter(|_| replaced)
                && (after.is_some() || random.random_bool(0.5))
            {
                left.insert(name.clone(), sure(inode).clone());
            }
            if let Some((inode, bytes)) = after
                && (!replaced || random.random_bool(0.5))
            {
                left.insert(name.clone(), torn_file(sure(inode), bytes, random));
            }
        }
        left
    }
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
            let end = (place + SECTOR_BYTES).min(length).min(after.len());
            // It may have been cut there.
            left.iter_mut().zip(after).take(end).skip(place).for_each(|(left, after)| *left = *after);
        }
    }
    left
}
