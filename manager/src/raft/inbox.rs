//! Where Raft messages of other managers arrive, whichever way they came: decoded, looked at, given to openraft, and
//! answered. Called by the gRPC service and by the simulation.
//!
//! Deliberately absent: who may send at all, which the connection's certificate tells before anything gets here.

use std::sync::Arc;

use muster_proto::id::ClusterId;
use openraft::{ServerState, Snapshot, error::RaftError};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    raft::{
        Raft,
        transport::Call,
        wire::{self, Append, Envelope, HandOver, Offer, VoteAsked, WireError},
    },
    snapshots::{Incoming, Snapshots},
};

#[derive(Clone)]
pub struct Inbox {
    cluster: ClusterId,
    raft: Raft,
    snapshots: Arc<Snapshots>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Inbox").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the message is of cluster {found}, this manager is of {expected}")]
    OtherCluster { expected: ClusterId, found: ClusterId },
    #[error(transparent)]
    Unreadable(#[from] WireError),
    #[error("whoever asks this manager to take over does not lead it")]
    NotLeader,
    #[error("this manager has stopped")]
    Stopped,
    #[error("the snapshot could not be written: {0}")]
    Disk(String),
}

impl Inbox {
    pub(crate) fn new(cluster: ClusterId, raft: Raft, snapshots: Arc<Snapshots>) -> Self {
        Self { cluster, raft, snapshots }
    }

    /// Answers one message.
    pub async fn take(&self, call: Call, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        match call {
            Call::Append => {
                let Envelope { body, .. } = self.open::<Append>(message)?;
                answer(self.raft.append_entries(body).await)
            }
            Call::Vote => {
                let Envelope { body, .. } = self.open::<VoteAsked>(message)?;
                answer(self.raft.vote(body).await)
            }
            Call::Elect => {
                let Envelope { from, body, .. } = self.open::<HandOver>(message)?;
                self.take_over(from, body).await?;
                Ok(wire::encode(&())?)
            }
        }
    }

    /// Takes in a snapshot that is offered: its chunks go into what is returned.
    pub fn receive_snapshot(&self, offer: &[u8]) -> Result<Receiving, Refusal> {
        let Envelope { body, .. } = self.open::<Offer>(offer)?;
        Ok(Receiving { inbox: self.clone(), offer: body, file: self.snapshots.receive() })
    }

    fn open<T: DeserializeOwned>(&self, message: &[u8]) -> Result<Envelope<T>, Refusal> {
        let envelope: Envelope<T> = wire::decode(message)?;
        if envelope.cluster != self.cluster {
            return Err(Refusal::OtherCluster { expected: self.cluster, found: envelope.cluster });
        }
        Ok(envelope)
    }

    /// Only the leader of this manager's own term may ask: an election costs everyone a moment.
    async fn take_over(&self, from: u64, asked: HandOver) -> Result<(), Refusal> {
        let led = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow();
            now.current_term == asked.term && now.current_leader == Some(from) && now.state == ServerState::Follower
        };
        if !led {
            return Err(Refusal::NotLeader);
        }
        self.raft.trigger().elect().await.map_err(|_fatal| Refusal::Stopped)
    }
}

fn answer<A: Serialize>(given: Result<A, RaftError<u64>>) -> Result<Vec<u8>, Refusal> {
    match given {
        Ok(given) => Ok(wire::encode(&given)?),
        Err(RaftError::Fatal(_)) => Err(Refusal::Stopped),
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
    pub async fn write(&mut self, chunk: Vec<u8>) -> Result<(), Refusal> {
        self.file.write(chunk).await.map_err(|why| Refusal::Disk(why.to_string()))
    }

    /// All chunks are written: installs the snapshot where it is newer than what this manager has.
    pub async fn finish(mut self) -> Result<Vec<u8>, Refusal> {
        let Offer { vote, meta } = self.offer.clone();
        let snapshot = Box::new(self.file.file());
        let given = self.inbox.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
        given.map_err(|_fatal| Refusal::Stopped).and_then(|given| Ok(wire::encode(&given)?))
    }
}
