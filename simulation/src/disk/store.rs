//! A store in the place of the manager's journal: a journal of batches too. What was not synced is lost in a crash, or
//! torn: of each sector of the journal's end either what was written reaches the disk, or nothing. As the real one does,
//! the store then goes on with the batches before the first that does not add up. That the real one keeps to this is for
//! the tests of the storage.
//!
//! Damage to what was synced is another matter: nobody may go on from there.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
    io,
    sync::Arc,
};

use muster_manager::outside::{Pair, Store, Write};

use crate::{chance::Chance, disk::Inner};

pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Before each batch of the journal: how long it is, and its checksum.
const HEADER_BYTES: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct StoreImage {
    pub(crate) made: bool,
    now: Rows,
    durable: Rows,
    unsynced: Vec<Vec<Write>>,
    /// What a row was before it was damaged.
    damaged: Option<Pair>,
}

fn write(rows: &mut Rows, batch: &[Write]) {
    for write in batch {
        match write {
            Write::Put { key, value } => drop(rows.insert(key.clone(), value.clone())),
            Write::Delete { key } => drop(rows.remove(key)),
        }
    }
}

/// What a batch takes of the journal.
fn framed(batch: &[Write]) -> Vec<u8> {
    let mut body = Vec::new();
    for write in batch {
        let (key, value) = match write {
            Write::Put { key, value } => (key, value.as_slice()),
            Write::Delete { key } => (key, [].as_slice()),
        };
        body.extend([key.as_slice(), value].concat());
    }
    let header = [(body.len() as u64).to_be_bytes(), checksum(&body).to_be_bytes()].concat();
    [header, body].concat()
}

fn checksum(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}

/// Part of what was on its way to the disk.
fn tear(journal: &mut [u8], chance: &Chance) {
    if chance.permille(500) {
        // It went there in order; now and then all of it.
        let bytes = journal.len() as u64;
        let kept = usize::try_from(chance.below(bytes + bytes / 4 + 1)).unwrap_or(0).min(journal.len());
        journal[kept..].fill(0);
    } else {
        // The kernel writes in the order it likes.
        journal.chunks_mut(SECTOR_BYTES).filter(|_| chance.permille(150)).for_each(|sector| sector.fill(0));
    }
}

/// How many of the batches add up, from the first.
fn whole(journal: &[u8]) -> usize {
    let (mut rest, mut batches) = (journal, 0);
    while let Some((length, after)) = rest.split_first_chunk::<8>()
        && let Some((sum, after)) = after.split_first_chunk::<8>()
        && let Some(body) = after.get(..usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX))
        && checksum(body) == u64::from_be_bytes(*sum)
    {
        rest = &rest[HEADER_BYTES + body.len()..];
        batches += 1;
    }
    batches
}

impl StoreImage {
    pub(crate) fn rows(&self) -> &Rows {
        &self.now
    }

    pub(super) fn crash(&mut self, chance: &Chance) {
        let mut journal: Vec<u8> = self.unsynced.iter().flat_map(|batch| framed(batch)).collect();
        tear(&mut journal, chance);
        let whole = whole(&journal);
        for batch in self.unsynced.drain(..).take(whole) {
            write(&mut self.durable, &batch);
        }
        self.now = self.durable.clone();
    }

    /// A byte of something that was synced goes bad, or a whole row of it, while nobody uses the store. False: nothing
    /// is there yet, or something is damaged already.
    pub(crate) fn damage(&mut self, chance: &Chance) -> bool {
        // What the last row was cannot be told from the others; the real one's watermark tells that it is gone.
        let last = self.durable.keys().next_back().cloned();
        let keys: Vec<Vec<u8>> = self.durable.keys().filter(|key| Some(*key) != last.as_ref()).cloned().collect();
        let Some(key) = chance.pick(&keys).filter(|_| self.damaged.is_none() && self.unsynced.is_empty()) else {
            return false;
        };
        let Some(value) = self.durable.get_mut(key) else { return false };
        self.damaged = Some((key.clone(), value.clone()));
        let entry = key.len() > crate::host::ENTRY_KEY_BYTES_MIN;
        if entry && chance.permille(300) {
            self.durable.remove(key);
        } else {
            let place = usize::try_from(chance.below(value.len() as u64)).unwrap_or(0);
            value[place] ^= 1 << chance.below(8);
        }
        self.now = self.durable.clone();
        true
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.is_some()
    }

    /// As from a copy.
    pub(crate) fn repair(&mut self) {
        if let Some((key, value)) = self.damaged.take() {
            self.durable.insert(key, value);
            self.now = self.durable.clone();
        }
    }
}

#[derive(Debug)]
pub(super) struct SimStore(pub(super) Arc<Inner>);

impl Store for SimStore {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.platter().store.now.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], bytes_max: usize) -> io::Result<Vec<Pair>> {
        let mut bytes = 0;
        let platter = self.0.platter();
        let rows = platter.store.now.range(from.to_vec()..to.to_vec()).take_while(|(_, value)| {
            let more = bytes < bytes_max;
            bytes += value.len();
            more
        });
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn keys(&self, from: &[u8], to: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        Ok(self.0.platter().store.now.range(from.to_vec()..to.to_vec()).map(|(key, _)| key.clone()).collect())
    }

    fn write(&self, batch: Vec<Write>) -> io::Result<()> {
        self.0.step("a write to the log")?;
        let mut platter = self.0.platter();
        write(&mut platter.store.now, &batch);
        platter.store.unsynced.push(batch);
        Ok(())
    }

    fn make_durable(&self) -> io::Result<()> {
        self.0.sync("a sync of the log")?;
        let image = &mut self.0.platter().store;
        for batch in std::mem::take(&mut image.unsynced) {
            write(&mut image.durable, &batch);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u64, bytes: usize) -> Write {
        Write::Put { key: key.to_be_bytes().to_vec(), value: vec![7; bytes] }
    }

    const BATCHES: u64 = 10;

    /// Of several sectors: a row of its own, and one that all write.
    fn batch(number: u64) -> Vec<Write> {
        vec![put(number, 700), put(99, number as usize)]
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_of_the_rest_whole_batches_from_the_first() {
        let mut kept = [0; BATCHES as usize + 1];
        for seed in 0..400 {
            let chance = Chance::new(seed, "crash");
            let mut image = StoreImage::default();
            write(&mut image.durable, &[put(0, 10)]);
            image.unsynced = (1..=BATCHES).map(batch).collect();
            image.crash(&chance);
            // The row that was synced, the one that all write, and one each.
            let batches = image.durable.len().saturating_sub(2);
            let mut expected = Rows::new();
            write(&mut expected, &[put(0, 10)]);
            (1..=batches as u64).for_each(|number| write(&mut expected, &batch(number)));
            assert_eq!(image.durable, expected, "seed {seed}");
            kept[batches] += 1;
        }
        assert!(kept.iter().all(|times| *times > 0), "how often so many were kept: {kept:?}");
    }
}
