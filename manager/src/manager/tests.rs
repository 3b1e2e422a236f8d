//! What a manager does when its disk or its log lets it down, and when its log is cut behind a snapshot.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use muster_core::command::{Command, Entry, LOG_FORMAT, Outcome};
use muster_proto::{id::ServiceId, pin::ImagePin, time::Timestamp};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{
    manager::open::start,
    raft::{self, Batch},
    replica::ProposeError,
    snapshots::Snapshots,
    storage::{
        self, Missing, Opened,
        log::Log,
        sled::SledStore,
        store::{Pair, Store, Write},
    },
};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct NoHost;

#[async_trait]
impl Preflight for NoHost {
    async fn resolve_image(&self, image: &str) -> Result<ImagePin, String> {
        Err(format!("nobody here knows {image}"))
    }

    async fn check_ingress_port(&self, _port: u16) -> Result<(), String> {
        Ok(())
    }
}

/// Sled, on a disk whose syncs can be made to fail.
#[derive(Debug)]
struct Failing {
    sled: SledStore,
    fails: AtomicBool,
}

impl Store for Failing {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.sled.get(key)
    }
    fn range(&self, from: &[u8], to: &[u8], bytes_max: usize) -> io::Result<Vec<Pair>> {
        self.sled.range(from, to, bytes_max)
    }
    fn keys(&self, from: &[u8], to: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sled.keys(from, to)
    }
    fn write(&self, batch: Vec<Write>) -> io::Result<()> {
        self.sled.write(batch)
    }
    fn make_durable(&self) -> io::Result<()> {
        match self.fails.load(Ordering::SeqCst) {
            true => Err(io::Error::other("input/output error")),
            false => self.sled.make_durable(),
        }
    }
}

fn config(dir: &Path) -> Config {
    Config {
        data_dir: dir.to_owned(),
        cluster_id: ClusterId::from_bits(1),
        node_id: NodeId::from_bits(2),
        raft_id: 1,
        advertise_addr: "127.0.0.1:7377".into(),
        preflight: Arc::new(NoHost),
    }
}

fn bootstrap() -> Option<Bootstrap> {
    Some(Bootstrap { spec: ClusterSpec::default() })
}

/// Changes nothing, and takes its place in the log.
fn command() -> Command {
    Command::RemoveService { id: ServiceId::from_bits(9) }
}

async fn ended(manager: Manager) -> String {
    let run = timeout(PATIENCE, manager.run(CancellationToken::new()));
    run.await.expect("it stops by itself").unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_stops_the_manager_and_acknowledges_nothing_more() {
    let dir = TempDir::new().unwrap();
    let folder = storage::folder(dir.path());
    drop(storage::open(&folder, Missing::Create).unwrap());
    let store = Arc::new(Failing { sled: SledStore::open(&folder).unwrap(), fails: AtomicBool::new(false) });
    let log = Log::open(store.clone(), &folder).unwrap();
    let snapshots = Arc::new(Snapshots::open(folder.join("snapshots"), None).unwrap());
    let manager = start(config(dir.path()), raft::config("c".into()), Opened { log, snapshots }).await.unwrap();
    manager.settle(bootstrap()).await.unwrap();
    let replica = manager.handle().replica().clone();
    replica.propose(command()).await.unwrap();

    store.fails.store(true, Ordering::SeqCst);
    let refused = replica.propose(command()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::Failed(_)), "{refused}");
    store.fails.store(false, Ordering::SeqCst);
    replica.propose(command()).await.unwrap_err();
    assert_eq!(
        ended(manager).await,
        "this manager has stopped: the log could not be written (input/output error); see to the disk, then start it again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_cut_short_is_completed_by_the_next_one() {
    let dir = TempDir::new().unwrap();
    drop(storage::open(&storage::folder(dir.path()), Missing::Create).unwrap());
    let refused = Manager::open(config(dir.path()), None).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unfinished), "{refused}");

    let opened = storage::open(&storage::folder(dir.path()), Missing::Create).unwrap();
    let manager = start(config(dir.path()), raft::config("c".into()), opened).await.unwrap();
    let me = raft::Peer { node_id: NodeId::from_bits(2), address: "127.0.0.1:7377".into() };
    manager.raft.initialize(std::collections::BTreeMap::from([(1, me)])).await.unwrap();
    manager.close().await;

    let manager = Manager::open(config(dir.path()), bootstrap()).await.unwrap();
    assert!(manager.handle().replica().read(|state| state.cluster().is_some()));
    manager.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_newer_format_stops_the_manager() {
    let dir = TempDir::new().unwrap();
    let manager = Manager::open(config(dir.path()), bootstrap()).await.unwrap();
    let newer = Entry { format: LOG_FORMAT + 1, at: Timestamp::EPOCH, command: command() };
    manager.raft.client_write(Batch { entries: vec![newer] }).await.unwrap_err();
    let said = ended(manager).await;
    assert!(
        said.contains(&format!("an entry of format {}", LOG_FORMAT + 1)) && said.contains("run the muster version"),
        "{said}"
    );
    let refused = Manager::open(config(dir.path()), None).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("an entry of format {}", LOG_FORMAT + 1)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_cut_behind_a_snapshot_brings_back_the_same_state() {
    let dir = TempDir::new().unwrap();
    let mut settings = (*raft::config("c".into())).clone();
    settings.snapshot_policy = openraft::SnapshotPolicy::LogsSinceLast(10);
    settings.max_in_snapshot_log_to_keep = 0;
    let opened = storage::open(&storage::folder(dir.path()), Missing::Create).unwrap();
    let manager = start(config(dir.path()), Arc::new(settings), opened).await.unwrap();
    manager.settle(bootstrap()).await.unwrap();
    let replica = manager.handle().replica().clone();
    for _ in 0..25 {
        assert!(matches!(replica.propose(command()).await.unwrap(), Outcome::Rejected(_)));
    }
    let mut metrics = manager.raft.metrics();
    let cut = timeout(PATIENCE, metrics.wait_for(|now| now.purged.is_some_and(|purged| purged.index >= 10)));
    drop(cut.await.expect("a purge").unwrap());
    let before = replica.read(Clone::clone);
    drop(metrics);
    manager.close().await;

    let opened = storage::open(&storage::folder(dir.path()), Missing::Refuse).unwrap();
    assert!(opened.log.purged().is_some());
    drop(opened);
    let manager = Manager::open(config(dir.path()), None).await.unwrap();
    let replica = manager.handle().replica().clone();
    replica.barrier().await.unwrap();
    assert_eq!(replica.read(Clone::clone), before);
    manager.close().await;
}
