//! A host's disk: what is written is there at once for who reads, and after a crash only what was synced, or more by
//! luck. Slow or failing when told to.

pub mod files;
pub mod store;

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use muster_manager::{
    StorageError,
    outside::{self, Commits, Disk, Durable, Files, Missing, SnapshotEvery, Space, Store},
};
use tokio::{sync::mpsc, time::sleep};

use crate::{
    chance::Chance,
    disk::{
        files::{FilesImage, SimFiles},
        store::{SimStore, StoreImage},
    },
    gate::Process,
    trace::Trace,
};

/// Small, so that a run of a few hundred entries sees several.
const SNAPSHOT_EVERY: SnapshotEvery = SnapshotEvery { entries: 60, bytes: 64 << 10 };

/// What stays when the host goes down.
#[derive(Debug, Default)]
pub struct Platter {
    pub(crate) store: StoreImage,
    pub(crate) files: FilesImage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Good,
    /// Each wait for the disk takes up to so long.
    Slow(Duration),
    /// The next sync fails.
    Failing,
    /// Nothing is left of it.
    Full,
}

/// The disk as one life of a process has it: dead with it.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    name: String,
    platter: Arc<Mutex<Platter>>,
    process: Arc<Process>,
    chance: Chance,
    health: Mutex<Health>,
    /// Writes and syncs until the host loses power in the middle of one. Zero: it does not.
    power_for: AtomicU64,
    trace: Trace,
}

impl Inner {
    pub(crate) fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before each write and sync: nothing comes from a process that is dead, also not from the step it died in.
    pub(crate) fn step(&self, what: &str) -> io::Result<()> {
        if self.process.is_dead() {
            return Err(io::Error::other("the power is gone"));
        }
        if self.power_for.load(Ordering::Relaxed) > 0 && self.power_for.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.trace.event(format_args!("{}: power lost before {what}", self.name));
            self.process.kill();
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    pub(crate) fn sync(&self, what: &str) -> io::Result<()> {
        self.step(what)?;
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match *health {
            Health::Good | Health::Slow(_) | Health::Full => Ok(()),
            Health::Failing => {
                *health = Health::Good;
                self.trace.event(format_args!("{}: {what} fails", self.name));
                Err(io::Error::other("input/output error"))
            }
        }
    }

    fn delay(&self) -> Duration {
        let micros = self.chance.within(100..3_000);
        match *self.health.lock().unwrap_or_else(PoisonError::into_inner) {
            Health::Good | Health::Failing | Health::Full => Duration::from_micros(micros),
            Health::Slow(most) => Duration::from_micros(micros) + self.chance.millis(0..most.as_millis() as u64),
        }
    }
}

impl SimDisk {
    #[must_use]
    pub fn new(
        name: String,
        platter: Arc<Mutex<Platter>>,
        process: Arc<Process>,
        chance: Chance,
        trace: Trace,
    ) -> Self {
        let health = Mutex::new(Health::Good);
        Self(Arc::new(Inner { name, platter, process, chance, health, power_for: AtomicU64::new(0), trace }))
    }

    pub fn set_health(&self, health: Health) {
        *self.0.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }

    #[must_use]
    pub fn is_good(&self) -> bool {
        *self.0.health.lock().unwrap_or_else(PoisonError::into_inner) == Health::Good
    }

    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(SimStore(self.0.clone()))
    }

    /// The host loses power at that write or sync from now.
    pub fn lose_power_after(&self, steps: u64) {
        self.0.power_for.store(steps, Ordering::Relaxed);
    }
}

/// What a loss of power leaves.
pub fn crash(platter: &Mutex<Platter>, chance: &Chance) {
    let mut platter = platter.lock().unwrap_or_else(PoisonError::into_inner);
    platter.store.crash(chance);
    platter.files.crash(chance);
}

impl Disk for SimDisk {
    fn look(&self, dir: &Path, missing: Missing) -> Result<Arc<dyn Store>, StorageError> {
        let mut platter = self.0.platter();
        match (platter.store.made, missing) {
            (true, Missing::Create | Missing::Refuse) => {}
            (false, Missing::Refuse) => return Err(StorageError::Missing { path: dir.to_owned() }),
            (false, Missing::Create) => platter.store.made = true,
        }
        drop(platter);
        self.open(dir)
    }

    fn open(&self, _dir: &Path) -> Result<Arc<dyn Store>, StorageError> {
        Ok(self.store())
    }

    fn commits(&self, store: Arc<dyn Store>) -> io::Result<Box<dyn Commits>> {
        let (queue, waiting) = mpsc::unbounded_channel();
        tokio::spawn(outside::inherit(commit(self.0.clone(), store, waiting)));
        Ok(Box::new(SimCommits(queue)))
    }

    fn files(&self) -> Arc<dyn Files> {
        Arc::new(SimFiles(self.0.clone()))
    }

    fn snapshot_every(&self) -> SnapshotEvery {
        SNAPSHOT_EVERY
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        let total_bytes = 1 << 30;
        let health = *self.0.health.lock().unwrap_or_else(PoisonError::into_inner);
        let free_bytes = match health {
            Health::Full => 0,
            Health::Good | Health::Slow(_) | Health::Failing => total_bytes,
        };
        Ok(Space { free_bytes, total_bytes })
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let delay = self.0.delay();
        Box::pin(async move {
            sleep(delay).await;
            work();
        })
    }
}

struct SimCommits(mpsc::UnboundedSender<Durable>);

impl std::fmt::Debug for SimCommits {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SimCommits")
    }
}

impl Commits for SimCommits {
    fn commit(&self, durable: Durable) {
        if let Err(refused) = self.0.send(durable) {
            (refused.0)(Err(io::Error::other("the log's task has ended")));
        }
    }
}

/// As the real one: one sync for all that waits, and none after one that failed.
async fn commit(disk: Arc<Inner>, store: Arc<dyn Store>, mut waiting: mpsc::UnboundedReceiver<Durable>) {
    let mut failed = false;
    while let Some(first) = waiting.recv().await {
        let mut batch = vec![first];
        while let Ok(more) = waiting.try_recv() {
            batch.push(more);
        }
        sleep(disk.delay()).await;
        failed = failed || store.make_durable().is_err();
        for durable in batch {
            durable(if failed { Err(io::Error::other("input/output error")) } else { Ok(()) });
        }
    }
}
