//! What a manager does when its disk or its log lets it down, and when its log is cut behind a snapshot.

mod installs;
mod leases;

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use muster_core::command::{Command, Entry, LOG_FORMAT, Outcome};
use muster_proto::{
    assignment::TaskReport,
    id::{ServiceId, TaskId},
    pin::{ImagePin, Unresolved},
    task::TaskStatus,
    task_state::TaskState,
    time::Timestamp,
    version::Fence,
};
use openraft::storage::RaftLogStorage;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{
    ca::ClusterKey,
    manager::open::start,
    outside::SnapshotEvery,
    raft::{self, Batch, alone::Alone},
    replica::ProposeError,
    snapshots::Snapshots,
    storage::{
        self, Missing, Opened,
        journal::Journal,
        log::Log,
        store::{Pair, Store, Write},
    },
};

const PATIENCE: Duration = Duration::from_secs(60);

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

/// A journal, on a disk whose syncs can be made to fail.
#[derive(Debug)]
struct Failing {
    journal: Journal,
    fails: AtomicBool,
}

impl Store for Failing {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        self.journal.get(key)
    }
    fn range(&self, from: &[u8], to: &[u8], bytes_max: usize) -> io::Result<Vec<Pair>> {
        self.journal.range(from, to, bytes_max)
    }
    fn keys(&self, from: &[u8], to: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.journal.keys(from, to)
    }
    fn write(&self, batch: Vec<Write>) -> io::Result<()> {
        self.journal.write(batch)
    }
    fn make_durable(&self) -> io::Result<()> {
        match self.fails.load(Ordering::SeqCst) {
            true => Err(io::Error::other("input/output error")),
            false => self.journal.make_durable(),
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
        cluster_key: ClusterKey::generate().expect("random bytes"),
        preflight: Arc::new(NoHost),
    }
}

fn founding() -> Start {
    Start::Cluster(Bootstrap { spec: ClusterSpec::default(), founding: None })
}

fn host() -> Outside {
    Outside::of_host(Arc::new(Alone))
}

fn open_store(dir: &Path, missing: Missing) -> Opened {
    storage::open(&host().disk, &storage::folder(dir), missing).unwrap()
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
    drop(open_store(dir.path(), Missing::Create));
    let store = Arc::new(Failing { journal: Journal::open(&folder).unwrap(), fails: AtomicBool::new(false) });
    let log = Log::open(store.clone(), host().disk.commits(store.clone()).unwrap(), &folder).unwrap();
    let snapshots = Arc::new(Snapshots::open(host().disk, folder.join("snapshots"), None).unwrap());
    let manager = start(
        config(dir.path()),
        host(),
        raft::config("c".into(), SnapshotEvery::default()),
        Opened { log, snapshots },
    )
    .await
    .unwrap();
    manager.settle(founding()).await.unwrap();
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

/// On one thread, so that the submissions wait together.
#[tokio::test]
async fn an_agent_that_sends_too_much_does_not_hold_up_the_reports_of_others() {
    let dir = TempDir::new().unwrap();
    let manager = Manager::open(config(dir.path()), host(), founding()).await.unwrap();
    let reports = manager.handle().reports().clone();
    let report = |message: String| TaskReport {
        task_id: TaskId::from_bits(5),
        fence: Fence(1),
        status: TaskStatus::new(TaskState::Running, Timestamp::EPOCH, message),
    };
    let submissions = (0..64).map(|number| {
        let message = "x".repeat(if number == 32 { 2 << 20 } else { 1 });
        reports.submit(NodeId::from_bits(number), vec![report(message)])
    });
    let settled = futures_util::future::join_all(submissions).await;
    for (number, settled) in (0..64).zip(settled) {
        match number {
            32 => assert!(matches!(settled, Err(ProposeError::TooLarge { .. })), "{settled:?}"),
            _ => assert!(settled.is_ok(), "{number}: {settled:?}"),
        }
    }
    manager.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_init_cut_short_is_completed_by_the_next_one() {
    let dir = TempDir::new().unwrap();
    drop(open_store(dir.path(), Missing::Create));
    let refused = Manager::open(config(dir.path()), host(), Start::Again).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unfinished), "{refused}");

    let opened = open_store(dir.path(), Missing::Create);
    let manager =
        start(config(dir.path()), host(), raft::config("c".into(), SnapshotEvery::default()), opened).await.unwrap();
    let me = raft::Peer { node_id: NodeId::from_bits(2), address: "127.0.0.1:7377".into() };
    manager.raft.initialize(std::collections::BTreeMap::from([(1, me)])).await.unwrap();
    manager.close().await;

    let manager = Manager::open(config(dir.path()), host(), founding()).await.unwrap();
    assert!(manager.handle().replica().read(|state| state.cluster().is_some()));
    manager.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_newer_format_stops_the_manager() {
    let dir = TempDir::new().unwrap();
    let manager = Manager::open(config(dir.path()), host(), founding()).await.unwrap();
    let newer = Entry { format: LOG_FORMAT + 1, at: Timestamp::EPOCH, request: None, command: command() };
    manager.raft.client_write(Batch::new(vec![newer])).await.unwrap_err();
    let said = ended(manager).await;
    assert!(
        said.contains(&format!("an entry of format {}", LOG_FORMAT + 1)) && said.contains("run a newer muster"),
        "{said}"
    );
    let refused = Manager::open(config(dir.path()), host(), Start::Again).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("an entry of format {}", LOG_FORMAT + 1)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_cut_behind_a_snapshot_brings_back_the_same_state() {
    let dir = TempDir::new().unwrap();
    let mut settings = (*raft::config("c".into(), SnapshotEvery::default())).clone();
    settings.snapshot_policy = openraft::SnapshotPolicy::LogsSinceLast(10);
    let opened = open_store(dir.path(), Missing::Create);
    let manager = start(config(dir.path()), host(), Arc::new(settings), opened).await.unwrap();
    manager.settle(founding()).await.unwrap();
    let replica = manager.handle().replica().clone();
    let metrics = manager.raft.data_metrics();
    let cut = async {
        while metrics.borrow().purged.is_none_or(|purged| purged.index < 10) {
            assert!(matches!(replica.propose(command()).await.unwrap(), Outcome::Rejected(_)));
        }
    };
    timeout(PATIENCE, cut).await.expect("a purge");
    let before = replica.read(Clone::clone);
    drop(metrics);
    manager.close().await;

    let mut opened = open_store(dir.path(), Missing::Refuse);
    assert!(opened.log.get_log_state().await.unwrap().last_purged_log_id.is_some());
    drop(opened);
    let manager = Manager::open(config(dir.path()), host(), Start::Again).await.unwrap();
    let replica = manager.handle().replica().clone();
    replica.barrier().await.unwrap();
    assert_eq!(replica.read(Clone::clone), before);
    manager.close().await;
}
