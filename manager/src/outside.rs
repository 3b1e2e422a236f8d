//! Everything a manager takes from outside itself: time, chance, the network, the disk. Each is a trait, so that many
//! managers run in one thread of a simulation that decides all of it; what the daemon uses is put together here, in
//! [`Outside::of_host`].
//!
//! How long something took is measured on tokio's clock, which a simulation pauses. What is secret comes from the
//! operating system alone, on purpose: keys, nonces and serial numbers that a seed could repeat would be none. No
//! decision hangs on them, and a simulation makes none.

pub mod disk;
pub mod network;
pub mod random;
pub(crate) mod tasks;

use std::{future::Future, sync::Arc};

pub use self::{
    disk::{Commits, Disk, FileIn, FileOut, Files, SnapshotEvery, Space},
    network::Network,
    random::Random,
    tasks::{Gate, inherit},
};
pub use crate::storage::{
    Missing,
    commit::Durable,
    store::{Pair, Store, Write},
};
use crate::{
    clock::{Clock, WallClock},
    raft::transport::Transport,
    storage::disk::HostDisk,
};

#[derive(Clone, Debug)]
pub struct Outside {
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub transport: Arc<dyn Transport>,
    pub network: Arc<dyn Network>,
    pub disk: Arc<dyn Disk>,
    /// What the manager's tasks pass through each time they go on. None: nothing holds them up.
    pub gate: Option<Arc<dyn Gate>>,
}

impl Outside {
    /// What the daemon uses.
    #[must_use]
    pub fn of_host(transport: Arc<dyn Transport>) -> Self {
        Self {
            clock: Arc::new(WallClock),
            random: Arc::new(random::HostRandom),
            transport,
            network: Arc::new(network::HostNetwork),
            disk: Arc::new(HostDisk),
            gate: None,
        }
    }

    /// Runs something as part of this manager: what it spawns is part of it too.
    pub fn run<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        tasks::run_as(tasks::Part { random: self.random.clone(), gate: self.gate.clone() }, work)
    }
}
