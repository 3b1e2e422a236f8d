//! The state machine: committed entries go through `muster_core::apply`, in order, into the state in memory. What it
//! survives a restart by is the log and the snapshots.
//!
//! An entry of a format it does not know stops the manager; skipping it would make this copy another than the others'.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use muster_core::{
    apply::{Touched, apply},
    command::{LOG_FORMAT, LogPosition, Outcome},
    state::State,
};
use openraft::{
    AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, StorageIOError, storage::RaftStateMachine,
};
use tokio::sync::watch;

use crate::{
    changes::{Changed, Publisher, merge_touched},
    failure::Failure,
    raft::{Batch, LogId, Outcomes, SnapshotMeta, StorageError, StoredMembership, TypeConfig, term_of},
    replica::Shared,
    snapshots::{Saved, SnapshotFile, Snapshots},
};

/// Before a snapshot for which there was no room is tried again.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Machine {
    shared: Arc<Shared>,
    snapshots: Arc<Snapshots>,
    failure: Failure,
    applied: Option<LogId>,
    membership: StoredMembership,
}

/// A consistent copy, taken between two entries; encoding and writing it holds nothing up.
#[derive(Debug)]
pub(crate) struct Builder {
    snapshots: Arc<Snapshots>,
    failure: Failure,
    meta: SnapshotMeta,
    state: State,
}

impl Machine {
    /// Begins with the newest snapshot; openraft applies what was committed since.
    pub(crate) fn new(snapshots: Arc<Snapshots>, failure: Failure) -> Self {
        let meta = snapshots.newest().map(|saved| saved.meta).unwrap_or_default();
        let shared = Shared {
            state: RwLock::new(snapshots.take_opened().unwrap_or_default()),
            applied: watch::Sender::new(meta.last_log_id.map_or(0, |last| last.index)),
            changes: Publisher::default(),
        };
        Self {
            shared: Arc::new(shared),
            snapshots,
            failure,
            applied: meta.last_log_id,
            membership: meta.last_membership,
        }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    fn apply_batch(&self, at: LogId, batch: &Batch) -> Result<(Vec<Outcome>, Touched), StorageError> {
        if let Some(newer) = batch.entries().iter().find(|entry| entry.format > LOG_FORMAT) {
            let why = format!(
                "the cluster's log has an entry of format {}, this muster reads {LOG_FORMAT}; run a newer muster here",
                newer.format
            );
            self.failure.note(why.clone());
            return Err(StorageIOError::apply(at, AnyError::error(why)).into());
        }
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        Ok(apply_batch(&mut state, at, batch))
    }

    fn snapshot_failed(&self, why: &std::io::Error) -> StorageError {
        snapshot_failed(&self.failure, why)
    }
}

/// Carries a batch out whose formats are known.
pub(crate) fn apply_batch(state: &mut State, at: LogId, batch: &Batch) -> (Vec<Outcome>, Touched) {
    let mut touched = Touched::default();
    let outcomes = batch.entries().iter().map(|entry| {
        // Each command has a number of its own: versions and fences must tell two of one batch apart.
        let position = LogPosition { term: term_of(at.leader_id), index: state.applied().index + 1 };
        let (outcome, more) = apply(state, position, entry);
        merge_touched(&mut touched, &more);
        outcome
    });
    (outcomes.collect(), touched)
}

fn snapshot_failed(failure: &Failure, why: &std::io::Error) -> StorageError {
    failure.note(format!("a snapshot could not be kept ({why}); see to the disk, then start it again"));
    StorageIOError::write_snapshot(None, AnyError::new(why)).into()
}

fn as_snapshot(saved: Saved) -> Snapshot<TypeConfig> {
    Snapshot { meta: saved.meta, snapshot: Box::new(SnapshotFile { path: saved.path }) }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcomes>, StorageError>
    where
        I: IntoIterator<Item = openraft::Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        for entry in entries {
            let outcomes = match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Vec::new()
                }
                EntryPayload::Normal(batch) => {
                    let (outcomes, touched) = self.apply_batch(entry.log_id, &batch)?;
                    if touched != Touched::default() {
                        self.shared.changes.publish(&Changed::Some(touched));
                    }
                    outcomes
                }
            };
            self.applied = Some(entry.log_id);
            self.shared.applied.send_replace(entry.log_id.index);
            answers.push(Outcomes(outcomes));
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let state = self.shared.state.read().unwrap_or_else(PoisonError::into_inner).clone();
        let last = self.applied.map_or_else(|| "empty".to_owned(), |last| last.to_string());
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone(), snapshot_id: last };
        Builder { snapshots: self.snapshots.clone(), failure: self.failure.clone(), meta, state }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotFile>, StorageError> {
        Ok(Box::new(self.snapshots.begin_receiving()))
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMeta, file: Box<SnapshotFile>) -> Result<(), StorageError> {
        let installed = self.snapshots.run(move |snapshots| snapshots.install(&file)).await;
        let (meta, state) = installed.map_err(|why| self.snapshot_failed(&why))?;
        let former = self.shared.replace(state);
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership;
        self.shared.changes.publish(&Changed::Everything);
        self.shared.applied.send_replace(self.applied.map_or(0, |last| last.index));
        // A large one takes a while to take apart.
        let taken_apart = self.snapshots.run(move |_| {
            drop(former);
            Ok(())
        });
        taken_apart.await.map_err(|why| self.snapshot_failed(&why))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        Ok(self.snapshots.newest().map(as_snapshot))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let state = Arc::new(std::mem::take(&mut self.state));
        loop {
            let (meta, state) = (self.meta.clone(), state.clone());
            match self.snapshots.run(move |snapshots| snapshots.save(meta, &state)).await {
                Ok(saved) => return Ok(as_snapshot(saved)),
                // The log keeps everything meanwhile, and takes no more when it has no room either: see [`crate::room`].
                Err(why) if why.kind() == io::ErrorKind::StorageFull => {
                    tracing::warn!("there is no room for a snapshot on the disk; trying again");
                    tokio::time::sleep(NO_ROOM_PAUSE).await;
                }
                Err(why) => return Err(snapshot_failed(&self.failure, &why)),
            }
        }
    }
}
