//! A store in sled's place. Batches reach the disk whole and in order; a crash keeps what was synced and, of the rest,
//! as many batches from the first as luck will have.

use std::{collections::BTreeMap, io, sync::Arc};

use muster_manager::outside::{Pair, Store, Write};

use crate::{chance::Chance, disk::Inner};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
pub(crate) struct StoreImage {
    pub(crate) made: bool,
    now: Rows,
    durable: Rows,
    unsynced: Vec<Vec<Write>>,
}

fn write(rows: &mut Rows, batch: &[Write]) {
    for write in batch {
        match write {
            Write::Put { key, value } => drop(rows.insert(key.clone(), value.clone())),
            Write::Delete { key } => drop(rows.remove(key)),
        }
    }
}

impl StoreImage {
    pub(crate) fn rows(&self) -> &Rows {
        &self.now
    }

    pub(super) fn crash(&mut self, chance: &Chance) {
        let kept = chance.below(self.unsynced.len() as u64 + 1);
        for batch in self.unsynced.drain(..).take(usize::try_from(kept).unwrap_or(0)) {
            write(&mut self.durable, &batch);
        }
        self.now = self.durable.clone();
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
