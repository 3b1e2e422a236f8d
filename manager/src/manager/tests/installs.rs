//! Snapshots that arrive while the sender gives up, or the power fails, at any step of their installation.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use futures_util::future::BoxFuture;
use muster_core::state::State;
use tokio::sync::Notify;

use super::*;
use crate::{
    outside::{Commits, Disk, Files},
    raft::{
        SnapshotMeta, Vote,
        wire::{self, Offer},
    },
    storage::disk::HostDisk,
};

/// The host's, on which one piece of work takes as long as the test wants.
#[derive(Debug)]
struct Held {
    /// Pieces of work until the one that waits. Zero: none does.
    after: AtomicU64,
    reached: Notify,
    release: Arc<Notify>,
}

impl Disk for Held {
    fn look(&self, dir: &Path, missing: Missing) -> Result<Arc<dyn Store>, storage::OpenError> {
        HostDisk.look(dir, missing)
    }

    fn open(&self, dir: &Path) -> Result<Arc<dyn Store>, storage::OpenError> {
        HostDisk.open(dir)
    }

    fn commits(&self, store: Arc<dyn Store>) -> io::Result<Box<dyn Commits>> {
        HostDisk.commits(store)
    }

    fn files(&self) -> Arc<dyn Files> {
        HostDisk.files()
    }

    fn block(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        if self.after.load(Ordering::SeqCst) == 0 || self.after.fetch_sub(1, Ordering::SeqCst) > 1 {
            return HostDisk.block(work);
        }
        self.reached.notify_one();
        let release = self.release.clone();
        Box::pin(async move {
            release.notified().await;
            HostDisk.block(work).await;
        })
    }
}

/// What the first manager of a cluster would send.
struct Sent {
    vote: Vote,
    meta: SnapshotMeta,
    bytes: Vec<u8>,
    state: State,
}

async fn sent() -> Sent {
    let dir = TempDir::new().unwrap();
    let manager = Manager::open(config(dir.path()), host(), founding()).await.unwrap();
    let replica = manager.handle().replica().clone();
    replica.propose(command()).await.unwrap();
    manager.raft.trigger().snapshot().await.unwrap();
    let mut metrics = manager.raft.metrics();
    let last = metrics.borrow().last_applied;
    timeout(PATIENCE, metrics.wait_for(|now| now.snapshot >= last)).await.unwrap().unwrap();
    let newest = manager.handle().inbox().snapshots.newest().unwrap();
    let (bytes, state) = (fs::read(&newest.path).unwrap(), replica.read(Clone::clone));
    let vote = metrics.borrow().vote;
    manager.close().await;
    Sent { vote, meta: newest.meta, bytes, state }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

/// Whether there was such a step.
async fn survives_a_break_at(step: u64, sent: &Sent) -> bool {
    let (dir, crashed) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let config = Config { raft_id: 2, node_id: NodeId::from_bits(3), ..config(dir.path()) };
    let disk = Arc::new(Held { after: AtomicU64::new(0), reached: Notify::new(), release: Arc::default() });
    let outside = Outside { disk: disk.clone(), ..host() };
    let opened = storage::open(&outside.disk, &storage::folder(dir.path()), Missing::Create).unwrap();
    let mut log = opened.log.clone();
    let settings = raft::config("c".into(), SnapshotEvery::default());
    let manager = start(config.clone(), outside, settings, opened).await.unwrap();
    manager.settle(Start::Member).await.unwrap();

    let inbox = manager.handle().inbox().clone();
    let Sent { vote, meta, bytes, state } = sent;
    let offer = Offer { vote: *vote, meta: meta.clone(), bytes: bytes.len() as u64 };
    let mut sealed = inbox.standing.seal(2, offer);
    sealed.from = 1;
    let mut receiving = inbox.receive_snapshot(&wire::encode(&sealed).unwrap(), None).unwrap();
    receiving.write(bytes.clone()).await.unwrap();
    disk.after.store(step, Ordering::SeqCst);
    let mut installing = tokio::spawn(receiving.finish());
    tokio::select! {
        () = disk.reached.notified() => {}
        done = &mut installing => {
            done.unwrap().unwrap();
            manager.close().await;
            return false;
        }
    }
    // What power loss would leave now, once the log was synced for whatever reason.
    log.save_vote(vote).await.unwrap();
    copy(dir.path(), crashed.path());
    drop(open_store(crashed.path(), Missing::Refuse));

    installing.abort();
    assert!(installing.await.unwrap_err().is_cancelled());
    disk.release.notify_one();
    let replica = manager.handle().replica().clone();
    let mut applied = replica.changes();
    let arrived = async {
        while replica.read(State::applied) < state.applied() {
            applied.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, arrived).await.expect("the snapshot");
    manager.close().await;
    drop(log);
    let manager = Manager::open(config, host(), Start::Again).await.unwrap();
    assert_eq!(manager.handle().replica().read(Clone::clone), *state);
    manager.close().await;
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_whose_sender_breaks_off_at_any_step_is_installed_and_the_store_opens_again() {
    let sent = sent().await;
    let mut steps = 0;
    while survives_a_break_at(steps + 1, &sent).await {
        steps += 1;
    }
    assert!(steps >= 3, "{steps} steps");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_cannot_be_read_here_is_refused_and_stops_nothing() {
    let Sent { vote, meta, mut bytes, .. } = sent().await;
    let dir = TempDir::new().unwrap();
    let config = Config { raft_id: 2, node_id: NodeId::from_bits(3), ..config(dir.path()) };
    let manager = Manager::open(config, host(), Start::Member).await.unwrap();
    let inbox = manager.handle().inbox().clone();
    // Of a newer format: its sums are right.
    let header = 32;
    let at = bytes.windows(7).position(|bytes| bytes == b"\xa6format").unwrap() + 7;
    bytes[at] = 9;
    let sum = crc32fast::hash(&bytes[header..]).to_be_bytes();
    bytes[24..28].copy_from_slice(&sum);
    let sum = crc32fast::hash(&bytes[..28]).to_be_bytes();
    bytes[28..32].copy_from_slice(&sum);
    let mut sealed = inbox.standing.seal(2, Offer { vote, meta, bytes: 0 });
    sealed.from = 1;
    let mut receiving = inbox.receive_snapshot(&wire::encode(&sealed).unwrap(), None).unwrap();
    receiving.write(bytes).await.unwrap();
    let refused = receiving.finish().await.unwrap_err().to_string();
    assert!(refused.contains("has format 9"), "{refused}");
    assert!(manager.raft.metrics().borrow().running_state.is_ok());
    assert_eq!(fs::read_dir(storage::folder(dir.path()).join("snapshots")).unwrap().count(), 0);
    manager.close().await;
}
