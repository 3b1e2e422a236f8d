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
}

impl Watermark {
    pub(super) fn create(dir: &Path, number: u64) -> io::Result<()> {
        let file = File::create(dir.join(NAME))?;
        for slot in 0..2 {
            file.write_all_at(&slot_of(number), slot * SLOT_BYTES)?;
        }
        file.sync_all()?;
        files::make_names_durable(dir)
    }

    pub(super) fn open(dir: &Path) -> Result<Self, OpenError> {
        let file = files::present(dir, NAME, "its file watermark")?;
        let reached = read(&file)
            .map_err(|source| OpenError::Unusable { path: dir.to_owned(), source })?
            .ok_or_else(|| OpenError::damaged(dir, "its file watermark is not what muster wrote"))?;
        Ok(Self { file, reached })
    }

    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    pub(super) fn set(&self, number: u64) -> io::Result<()> {
        self.file.write_all_at(&slot_of(number), (number % 2) * SLOT_BYTES)
    }
}

fn slot_of(number: u64) -> [u8; 12] {
    let mut slot = [0; 12];
    slot[..8].copy_from_slice(&number.to_be_bytes());
    slot[8..].copy_from_slice(&crc32fast::hash(&number.to_be_bytes()).to_be_bytes());
    slot
}

/// The higher of the two slots that are whole; None when neither is.
fn read(file: &File) -> io::Result<Option<u64>> {
    let mut reached = None;
    for place in 0..2 {
        let mut slot = [0; 12];
        match file.read_exact_at(&mut slot, place * SLOT_BYTES) {
            Ok(()) => {}
            Err(why) if why.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(why) => return Err(why),
        }
        let number = u64::from_be_bytes(slot[..8].try_into().expect("eight bytes"));
        if slot == slot_of(number) {
            reached = reached.max(Some(number));
        }
    }
    Ok(reached)
}
