//! How far the log was durable: the number of its last batch at the last sync. Two slots, written in turn, so that a torn
//! write leaves the other; never synced, so that it may be too low and never too high.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use crate::storage::{error::OpenError, files};

const NAME: &str = "watermark";
/// A sector each.
const SLOT_BYTES: u64 = 512;

#[derive(Debug)]
pub(super) struct Watermark {
    file: File,
    /// When it was opened.
    reached: u64,
    /// To be written next.
    slot: u64,
}

impl Watermark {
    pub(super) fn create(dir: &Path) -> io::Result<()> {
        let file = File::create(dir.join(NAME))?;
        for slot in 0..2 {
            file.write_all_at(&slot_of(0), slot * SLOT_BYTES)?;
        }
        files::make_durable(&file)?;
        files::make_names_durable(dir)
    }

    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let file = files::present(dir, NAME, "its file watermark")?;
        let slots = read(&file).map_err(|source| OpenError::Unusable { path: dir.to_owned(), source })?;
        let reached = slots[0].max(slots[1]);
        let reached = reached.ok_or_else(|| OpenError::damaged(dir, "its file watermark is not what muster wrote"))?;
        Ok(Self { file, reached, slot: u64::from(slots[1] < slots[0]) })
    }

    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    pub(super) fn set(&mut self, number: u64) -> io::Result<()> {
        self.file.write_all_at(&slot_of(number), self.slot * SLOT_BYTES)?;
        self.slot = 1 - self.slot;
        Ok(())
    }
}

fn slot_of(number: u64) -> [u8; 12] {
    let mut slot = [0; 12];
    slot[..8].copy_from_slice(&number.to_be_bytes());
    slot[8..].copy_from_slice(&crc32fast::hash(&number.to_be_bytes()).to_be_bytes());
    slot
}

/// What is in each slot; None where it is not whole.
fn read(file: &File) -> io::Result<[Option<u64>; 2]> {
    let mut slots = [None; 2];
    for (place, found) in (0..).zip(&mut slots) {
        let mut slot = [0; 12];
        match file.read_exact_at(&mut slot, place * SLOT_BYTES) {
            Ok(()) => {}
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(why) => return Err(why),
        }
        let number = u64::from_be_bytes(slot[..8].try_into().expect("eight bytes"));
        *found = (slot == slot_of(number)).then_some(number);
    }
    Ok(slots)
}
