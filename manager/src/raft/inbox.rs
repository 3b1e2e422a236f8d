//! Where Raft messages of other managers arrive, whichever way they came: decoded, looked at, given to openraft, and
//! answered. Called by the gRPC service and by the simulation.
//!
//! Deliberately absent: who may send at all, which the connection's certificate tells before anything gets here.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use openraft::{ServerState, Snapshot, error::RaftError};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::{
    ca::PeerIdentity,
    leadership::Backing,
    outside::tasks,
    raft::{
        LEASE, Raft, SnapshotMeta,
        contact::Contact,
        standing::{Refusal, Standing},
        transport::Call,
        wire::{
            self, Append, Appended, Ballot, Candidacy, Envelope, HandOver, Offer, Reply, Sounded, VoteGiven, WireError,
        },
    },
    room::Room,
    snapshots::{Incoming, Snapshots},
};

/// The term whose leader has asked this manager to take over; zero: none has.
pub(crate) type Invited = Arc<AtomicU64>;

#[derive(Clone)]
pub struct Inbox {
    pub(crate) standing: Standing,
    pub(crate) raft: Raft,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) contact: Contact,
    pub(crate) backing: Backing,
    pub(crate) invited: Invited,
    pub(crate) room: Room,
    pub(crate) installing: Installing,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Inbox").field("standing", &self.standing).finish_non_exhaustive()
    }
}

/// Why a message has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    #[error(transparent)]
    Unreadable(#[from] WireError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("whoever asks this manager to take over does not lead it")]
    NotLeader,
    #[error("this manager has stopped")]
    Stopped,
    #[error("the disk of this manager is nearly full")]
    NoRoom,
    #[error("the snapshot did not arrive whole: {0}")]
    Damaged(String),
    #[error("the snapshot could not be written: {0}")]
    Disk(String),
}

impl Inbox {
    /// Answers one message. `sender` is who sent it, where the connection has proved that.
    pub async fn take(&self, call: Call, message: &[u8], sender: Option<PeerIdentity>) -> Result<Vec<u8>, InboxError> {
        match call {
            Call::Append => match self.judge(wire::decode_append(message)?, sender) {
                Ok(Envelope { body, .. }) => self.append(body).await,
                Err(refusal) => refused(refusal),
            },
            Call::Vote => match self.open::<Ballot>(message, sender)? {
                Ok(Envelope { body: Ballot { why: Candidacy::Sounding, .. }, .. }) => given(self.sound()),
                Ok(Envelope { body, .. }) => given(self.vote(body).await?),
                Err(refusal) => refused(refusal),
            },
            Call::Elect => match self.open::<HandOver>(message, sender)? {
                Ok(Envelope { from, body, .. }) => given(self.take_over(from, body).await?),
                Err(refusal) => refused(refusal),
            },
        }
    }

    /// Takes in a snapshot that is offered: its chunks go into what is returned.
    pub fn receive_snapshot(&self, offer: &[u8], sender: Option<PeerIdentity>) -> Result<Receiving, InboxError> {
        let Envelope { body, .. } = self.open::<Offer>(offer, sender)??;
        self.contact.led(*body.vote.leader_id());
        if self.room.is_full() || self.snapshots.require_room(body.bytes).is_err() {
            return Err(InboxError::NoRoom);
        }
        Ok(Receiving { inbox: self.clone(), offer: body, file: self.snapshots.receive() })
    }

    fn open<T: DeserializeOwned>(
        &self,
        message: &[u8],
        sender: Option<PeerIdentity>,
    ) -> Result<Result<Envelope<T>, Refusal>, WireError> {
        Ok(self.judge(wire::decode(message)?, sender))
    }

    fn judge<T>(&self, envelope: Envelope<T>, sender: Option<PeerIdentity>) -> Result<Envelope<T>, Refusal> {
        self.standing.check(&envelope, sender, &self.raft.metrics().borrow())?;
        Ok(envelope)
    }

    /// Where there is no room the leader is followed all the same, and told that nothing was written down: not as
    /// openraft would say so, to whom an append without its entries is one that has none.
    async fn append(&self, mut append: Append) -> Result<Vec<u8>, InboxError> {
        // Here and not by openraft, which may be waiting for the disk.
        self.contact.led(*append.vote.leader_id());
        let term = self.raft.metrics().borrow().current_term;
        if append.vote.leader_id().term >= term {
            self.contact.heard_leader();
        }
        let lacks_room = !append.entries.is_empty() && self.room.is_full();
        if lacks_room {
            append.entries.clear();
        }
        match answer(self.raft.append_entries(append).await)? {
            Appended::Success | Appended::PartialSuccess(_) if lacks_room => Ok(wire::encode(&Reply::<()>::NoRoom)?),
            answer => given(answer),
        }
    }

    /// A leader that others follow misses nobody, and neither does who hears of one.
    fn sound(&self) -> Sounded {
        let misses_leader = !self.backing.is_fresh(LEASE) && self.contact.leader().elapsed() > LEASE;
        Sounded { misses_leader }
    }

    /// Openraft refuses every candidate while it has heard of its leader lately. Where that leader itself has stood
    /// back, the candidate's term is made known first, as an earlier message of the candidate would have done.
    async fn vote(&self, ballot: Ballot) -> Result<VoteGiven, InboxError> {
        let Ballot { asked, why } = ballot;
        let (term, stands) = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow();
            (now.current_term, now.vote.committed)
        };
        match why {
            Candidacy::HandedOver { term: handed }
                if stands && handed == term && asked.vote.leader_id().term > term =>
            {
                let nothing =
                    Snapshot { meta: SnapshotMeta::default(), snapshot: Box::new(self.snapshots.begin_receiving()) };
                let told = self.raft.install_full_snapshot(asked.vote, nothing).await;
                told.map_err(|_fatal| InboxError::Stopped)?;
            }
            Candidacy::HandedOver { .. } | Candidacy::Silence | Candidacy::Sounding => {}
        }
        let given = answer(self.raft.vote(asked).await)?;
        if given.vote_granted {
            // Whoever was voted for gets its time to lead.
            self.contact.heard_leader();
        }
        Ok(given)
    }

    /// Only the leader of this manager's own term may ask: an election costs everyone a moment.
    async fn take_over(&self, from: u64, asked: HandOver) -> Result<(), InboxError> {
        let led = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow();
            now.current_term == asked.term && now.current_leader == Some(from) && now.state == ServerState::Follower
        };
        if !led {
            return Err(InboxError::NotLeader);
        }
        if self.room.is_full() {
            return Err(InboxError::NoRoom);
        }
        self.invited.store(asked.term, Ordering::Relaxed);
        self.contact.heard_leader();
        self.raft.trigger().elect().await.map_err(|_fatal| InboxError::Stopped)
    }
}

fn given<A: Serialize>(answer: A) -> Result<Vec<u8>, InboxError> {
    Ok(wire::encode(&Reply::Given(answer))?)
}

fn refused(refusal: Refusal) -> Result<Vec<u8>, InboxError> {
    tracing::debug!(%refusal, "a message of another manager was refused");
    Ok(wire::encode(&Reply::<()>::Refused(refusal))?)
}

fn answer<A>(given: Result<A, RaftError<u64>>) -> Result<A, InboxError> {
    match given {
        Ok(given) => Ok(given),
        Err(RaftError::Fatal(_)) => Err(InboxError::Stopped),
        Err(RaftError::APIError(never)) => match never {},
    }
}

/// A snapshot on its way in. Dropped before [`Receiving::finish`], nothing of it remains.
#[derive(Debug)]
pub struct Receiving {
    inbox: Inbox,
    offer: Offer,
    file: Incoming,
}

impl Receiving {
    pub async fn write(&mut self, chunk: Vec<u8>) -> Result<(), InboxError> {
        self.file.write(chunk).await.map_err(|why| InboxError::Disk(why.to_string()))
    }

    /// All chunks are written: installs the snapshot where it is newer than what this manager has. Once begun it goes on
    /// to its end, also when nobody waits for the answer any more: a sender breaks off whenever the leader changes.
    pub async fn finish(self) -> Result<Vec<u8>, InboxError> {
        let installing = self.inbox.installing.tasks.clone();
        let installed = installing.spawn(tasks::inherit(self.install()));
        installed.await.unwrap_or(Err(InboxError::Stopped))
    }

    async fn install(mut self) -> Result<Vec<u8>, InboxError> {
        let Inbox { snapshots, raft, installing, .. } = &self.inbox;
        // Of those that are kept only the newest two stay: the one that is being installed must be among them.
        let _alone = installing.one.lock().await;
        let (file, offered) = (self.file.file(), self.offer.meta.clone());
        let kept = snapshots.run(move |snapshots| snapshots.keep(&file, &offered)).await;
        let file = kept.map_err(|why| match why.kind() {
            io::ErrorKind::InvalidData => InboxError::Damaged(why.to_string()),
            io::ErrorKind::StorageFull => InboxError::NoRoom,
            _ => InboxError::Disk(why.to_string()),
        })?;
        let Offer { vote, meta, .. } = self.offer.clone();
        let installed = raft.install_full_snapshot(vote, Snapshot { meta, snapshot: Box::new(file) }).await;
        let forgotten = snapshots.run(|snapshots| {
            snapshots.forget_kept();
            Ok(())
        });
        forgotten.await.map_err(|why| InboxError::Disk(why.to_string()))?;
        given(installed.map_err(|_fatal| InboxError::Stopped)?)
    }
}

/// The installations under way: one at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Installing {
    one: Arc<Mutex<()>>,
    tasks: TaskTracker,
}

impl Installing {
    /// Waits for those that were begun; to be called when Raft has ended.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
