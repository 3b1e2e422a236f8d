//! A cluster of one manager out of what one copy holds: the store of a survivor, or a backup. Called by the daemon while
//! no manager runs on this folder.
//!
//! From a survivor's store everything is taken, also entries that it does not know to be committed: an acknowledged one
//! may be among them. The new store is made beside the present one and put in its place in steps that can be repeated,
//! so that a crash leaves the one or the other. The former one is kept as `manager.former`.

pub mod alive;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use muster_core::{
    command::LOG_FORMAT,
    recovery::{self, Survivor},
    rejection::Rejection,
    state::State,
};
use muster_proto::{time::Timestamp, version::RaftId};
use openraft::{CommittedLeaderId, EntryPayload, Membership, RaftLogReader, storage::RaftLogStorage};

use crate::{
    machine::apply_batch,
    outside::Disk,
    raft::{LogId, Peer, SnapshotMeta, StorageError, StoredMembership, Vote, raft_term, term_of},
    storage::{self, Missing, OpenError, disk::HostDisk, files},
};

const NEW: &str = "manager.new";
const FORMER: &str = "manager.former";

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Storage(#[from] OpenError),
    #[error("this manager's log cannot be read to its end: {0}; recover on another manager, or restore a backup")]
    Unreadable(#[source] StorageError),
    #[error("what this manager has is no cluster to go on with: {0}")]
    State(#[from] Rejection),
    #[error("the recovered store could not be written; make room on the disk and repeat the command")]
    Unwritten(#[source] io::Error),
    #[error("the recovery broke off; repeat the command")]
    BrokenOff,
}

/// The cluster that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub raft_id: RaftId,
    pub incarnation: u64,
    /// Addresses of the managers that were.
    pub former_managers: Vec<String>,
    pub services: usize,
    pub nodes: usize,
}

/// What a manager's folder holds, to the end of its log.
struct Copy {
    state: State,
    term: u64,
    index: u64,
}

/// Makes the new store beside the present one; [`put_in_place`] comes next.
pub async fn prepare(data_dir: &Path, survivor: &Survivor, now: Timestamp) -> Result<Recovered, RecoveryError> {
    let copy = read(data_dir).await?;
    make(data_dir.join(NEW), copy, survivor, now).await
}

/// Makes the store of a manager that begins with a copy from elsewhere.
pub async fn found(
    data_dir: &Path,
    state: State,
    survivor: &Survivor,
    now: Timestamp,
) -> Result<Recovered, RecoveryError> {
    let copy = Copy { term: raft_term(state.applied().term), index: state.applied().index, state };
    make(storage::folder(data_dir), copy, survivor, now).await
}

/// Repeated after a crash, it goes on where it was; done, it does nothing.
pub fn put_in_place(data_dir: &Path) -> Result<(), RecoveryError> {
    let (new, present, former) = (data_dir.join(NEW), storage::folder(data_dir), data_dir.join(FORMER));
    if !new.exists() {
        return Ok(());
    }
    let steps = || {
        if present.exists() {
            remove(&former)?;
            fs::rename(&present, &former)?;
        }
        fs::rename(&new, &present)?;
        files::make_names_durable(data_dir)
    };
    steps().map_err(RecoveryError::Unwritten)
}

/// What was prepared is not wanted.
pub fn discard(data_dir: &Path) -> Result<(), RecoveryError> {
    remove(&data_dir.join(NEW)).map_err(RecoveryError::Unwritten)
}

/// The host leaves its cluster: with it go the stores that were replaced by others.
pub fn erase(data_dir: &Path) -> Result<(), RecoveryError> {
    discard(data_dir)?;
    remove(&data_dir.join(FORMER)).map_err(RecoveryError::Unwritten)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(HostDisk)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RecoveryError> + Send + 'static,
) -> Result<T, RecoveryError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(RecoveryError::BrokenOff))
}

async fn read(data_dir: &Path) -> Result<Copy, RecoveryError> {
    let folder = storage::folder(data_dir);
    let mut opened = blocking(move || Ok(storage::open(&disk(), &folder, Missing::Refuse)?)).await?;
    let snapshot = opened.snapshots.newest().and_then(|saved| saved.meta.last_log_id);
    let mut state = opened.snapshots.take_opened().unwrap_or_default();
    let ends = opened.log.get_log_state().await.map_err(RecoveryError::Unreadable)?;
    let vote = opened.log.read_vote().await.map_err(RecoveryError::Unreadable)?;
    let mut last = snapshot;
    // A log that ends in an earlier term than the snapshot was overtaken by it, also in what it has behind it.
    let end = ends.last_log_id.filter(|last| Some(*last) > snapshot).map_or(0, |last| last.index + 1);
    let mut next = snapshot.map_or(0, |last| last.index + 1);
    while next < end {
        let entries = opened.log.limited_get_log_entries(next, end).await.map_err(RecoveryError::Unreadable)?;
        if entries.is_empty() {
            return Err(RecoveryError::BrokenOff);
        }
        for entry in entries {
            next = entry.log_id.index + 1;
            last = Some(entry.log_id);
            match &entry.payload {
                // A newer format was refused when the store was opened.
                EntryPayload::Normal(batch) => drop(apply_batch(&mut state, entry.log_id, batch)),
                EntryPayload::Blank | EntryPayload::Membership(_) => {}
            }
        }
    }
    let voted = vote.map_or(0, |vote| vote.leader_id().term);
    let term = last.map_or(0, |last| last.leader_id.term).max(voted);
    // The log is closed by a thread of its own before another may be opened on its folder.
    blocking(move || {
        drop(opened);
        Ok(())
    })
    .await?;
    Ok(Copy { state, term, index: last.map_or(0, |last| last.index) })
}

/// An empty log behind one snapshot, in which the survivor is the one voter.
async fn make(folder: PathBuf, copy: Copy, survivor: &Survivor, now: Timestamp) -> Result<Recovered, RecoveryError> {
    let former = copy.state.managers().filter(|node| node.id != survivor.id).map(|node| node.address.clone()).collect();
    let term = copy.term + 1;
    let (state, raft_id) = recovery::recovered(copy.state, survivor, now, term_of(CommittedLeaderId::new(term, 0)))?;
    let recovered = Recovered {
        raft_id,
        incarnation: state.cluster().map_or(0, |cluster| cluster.incarnation),
        former_managers: former,
        services: state.services().count(),
        nodes: state.nodes().count(),
    };
    let last = LogId::new(CommittedLeaderId::new(term, raft_id.0), copy.index + 1);
    let voters = BTreeSet::from([raft_id.0]);
    let me = Peer { node_id: survivor.id, address: survivor.address.clone() };
    let membership = Membership::new(vec![voters], BTreeMap::from([(raft_id.0, me)]));
    let meta = SnapshotMeta {
        last_log_id: Some(last),
        last_membership: StoredMembership::new(Some(last), membership),
        snapshot_id: last.to_string(),
    };
    let mut opened = blocking(move || {
        remove(&folder).map_err(RecoveryError::Unwritten)?;
        let opened = storage::open(&disk(), &folder, Missing::Create)?;
        opened.snapshots.save(meta, &state).map_err(RecoveryError::Unwritten)?;
        Ok(opened)
    })
    .await?;
    opened.log.purge(last).await.map_err(RecoveryError::Unreadable)?;
    // Durable with everything before it.
    opened.log.save_vote(&Vote::new(term, raft_id.0)).await.map_err(RecoveryError::Unreadable)?;
    blocking(move || {
        drop(opened);
        Ok(())
    })
    .await?;
    tracing::info!(%raft_id, incarnation = recovered.incarnation, format = LOG_FORMAT, "the cluster goes on from here");
    Ok(recovered)
}
