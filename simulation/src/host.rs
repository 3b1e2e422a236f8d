//! One host: a disk that stays, and a manager's process on it that comes and goes.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use muster_manager::{
    Config, Handle, Manager, Outside, Start, ca::ClusterKey, clock::Clock, connect::Stream, outside,
    preflight::Preflight,
};
use muster_proto::{
    id::{ClusterId, NodeId},
    pin::{ImagePin, Unresolved},
};
use tokio_util::sync::CancellationToken;

use crate::{
    chance::Chance,
    clock::SkewedClock,
    disk::{self, Platter, SimDisk},
    gate::Process,
    invariants::{Invariants, damage, stopping},
    network::{Network, Port},
    trace::Trace,
};

/// An entry's key has its index and part; the marks beside them have a letter.
pub(crate) const ENTRY_KEY_BYTES_MIN: usize = 8;

pub const CLUSTER: ClusterId = ClusterId::from_bits(1);

#[must_use]
pub fn node_id(raft_id: u64) -> NodeId {
    NodeId::from_bits(u128::from(raft_id))
}

#[must_use]
pub fn address(raft_id: u64) -> String {
    format!("10.0.0.{raft_id}:7377")
}

/// What all hosts of a run share.
#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    pub network: Network,
    pub trace: Trace,
    pub invariants: Invariants,
}

#[derive(Debug)]
pub struct Host {
    pub raft_id: u64,
    pub clock: Arc<SkewedClock>,
    pub platter: Arc<Mutex<Platter>>,
    world: World,
    chance: Chance,
    lives: u64,
    life: Option<Life>,
}

/// A process, from its start to its end.
#[derive(Clone, Debug)]
pub struct Life {
    pub process: Arc<Process>,
    pub disk: SimDisk,
    stop: CancellationToken,
    stage: Arc<Mutex<Stage>>,
}

#[derive(Clone, Debug)]
pub enum Stage {
    Opening,
    Open(Box<Handle>),
    /// By itself or as told; with what it said.
    Ended(Result<(), String>),
}

impl Life {
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }
}

impl Host {
    #[must_use]
    pub fn new(world: World, raft_id: u64, clock: SkewedClock) -> Self {
        let chance = Chance::new(world.seed, &format!("host {raft_id}"));
        let (clock, platter) = (Arc::new(clock), Arc::default());
        Self { raft_id, clock, platter, world, chance, lives: 0, life: None }
    }

    #[must_use]
    pub fn life(&self) -> Option<&Life> {
        self.life.as_ref().filter(|life| !life.process.is_dead())
    }

    /// In the middle of a write: nobody has told the world yet.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.process.is_dead())
    }

    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        match self.life()?.stage() {
            Stage::Open(handle) => Some(*handle),
            Stage::Opening | Stage::Ended(_) => None,
        }
    }

    /// The records of its log, by key.
    #[must_use]
    pub fn log(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let platter = self.platter();
        let entries = platter.store.rows().iter().filter(|(key, _)| key.len() > ENTRY_KEY_BYTES_MIN);
        entries.map(|(key, record)| (key.clone(), record.clone())).collect()
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.platter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.platter().store.is_damaged()
    }

    /// Something goes bad in its log while no process uses it.
    pub fn damage(&mut self) {
        if self.life.is_none() && self.platter().store.damage(&self.chance) {
            self.world.trace.event(format_args!("{}: its log is damaged", self.raft_id));
        }
    }

    pub fn repair(&mut self) {
        self.platter().store.repair();
    }

    /// Starts the process, which opens in its own time.
    pub fn start(&mut self, begin: Start) {
        self.lives += 1;
        let World { seed, network, trace, invariants } = self.world.clone();
        let (raft_id, lives) = (self.raft_id, self.lives);
        trace.event(format_args!("{raft_id}: starts"));
        let chance = |what: &str| Chance::new(seed, &format!("{what} {raft_id} {lives}"));
        let process = Arc::new(Process::default());
        let disk =
            SimDisk::new(raft_id.to_string(), self.platter.clone(), process.clone(), chance("disk"), trace.clone());
        let is_damaged = self.is_damaged();
        if !is_damaged {
            invariants.starts(raft_id, &*disk.store());
        }
        let outside = Outside {
            clock: self.clock.clone() as Arc<dyn Clock>,
            random: Arc::new(chance("random")),
            transport: network.transport(raft_id),
            network: Arc::new(NoNewcomers),
            disk: Arc::new(disk.clone()),
            gate: Some(process.clone()),
        };
        let stop = CancellationToken::new();
        let life = Life { process, disk, stop: stop.clone(), stage: Arc::new(Mutex::new(Stage::Opening)) };
        self.life = Some(life.clone());
        let work = async move {
            let ended = match Manager::open(config(raft_id), outside.clone(), begin).await {
                Ok(manager) => {
                    invariants.check(damage::opened(raft_id, is_damaged));
                    let handle = manager.handle();
                    network.attach(Port {
                        raft_id,
                        life: lives,
                        inbox: handle.inbox().clone(),
                        outside: outside.clone(),
                        process: life.process.clone(),
                        invariants: invariants.clone(),
                    });
                    tokio::spawn(invariants.clone().watch(raft_id, handle.clone()));
                    life.set(Stage::Open(Box::new(handle)));
                    let ended = outside.run(manager.run(stop)).await;
                    network.detach(raft_id);
                    ended.map_err(|why| why.to_string())
                }
                Err(why) => Err(why.to_string()),
            };
            trace.event(format_args!("{raft_id}: ended: {ended:?}"));
            life.set(Stage::Ended(ended));
        };
        tokio::spawn(work);
    }

    /// As a loss of power: what was not synced is gone, or part of it is.
    pub fn kill(&mut self) {
        if let Some(life) = self.life.take() {
            life.process.kill();
            self.world.network.detach(self.raft_id);
            self.world.trace.event(format_args!("{}: killed", self.raft_id));
        }
        disk::crash(&self.platter, &self.chance);
    }

    /// Tells it to stop, as a signal does.
    pub fn stop(&mut self) {
        if let Some(life) = &self.life {
            self.world.trace.event(format_args!("{}: told to stop", self.raft_id));
            tokio::spawn(stopping::in_time(self.raft_id, life.clone(), self.world.invariants.clone()));
            life.stop.cancel();
        }
    }
}

fn config(raft_id: u64) -> Config {
    Config {
        data_dir: PathBuf::from("/muster"),
        cluster_id: CLUSTER,
        node_id: node_id(raft_id),
        raft_id,
        advertise_addr: address(raft_id),
        cluster_key: ClusterKey::from_bytes(&[7; 32]).expect("a key of 32 bytes"),
        preflight: Arc::new(NoHost),
    }
}

/// Nothing here creates services through the RPCs.
#[derive(Debug)]
struct NoHost;

#[async_trait]
impl Preflight for NoHost {
    async fn resolve_image(&self, image: &str) -> Result<ImagePin, Unresolved> {
        Err(Unresolved::Unknown(format!("nobody here knows {image}")))
    }

    async fn check_ingress_port(&self, _port: u16) -> Result<(), String> {
        Ok(())
    }
}

/// Nor does a host join that would be called back.
#[derive(Debug)]
struct NoNewcomers;

impl outside::Network for NoNewcomers {
    fn connect(&self, _address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        Box::pin(async { Err(io::ErrorKind::HostUnreachable.into()) })
    }
}
