//! Openraft's side of the [`Transport`]: encodes what openraft wants sent, cuts what takes too much, and puts what went
//! wrong in openraft's terms. One [`Link`] for each other member.

use std::{
    future::Future,
    iter,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use openraft::{
    error::{
        Fatal, NetworkError, PayloadTooLarge, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
    },
    network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    raft::{
        Peer, TypeConfig, Vote,
        contact::Contact,
        inbox::Invited,
        standing::Standing,
        term_of,
        transport::{Call, Target, Transport, TransportError},
        wire::{
            self, Append, Appended, Ballot, Candidacy, Offer, Reply, SnapshotTaken, VoteAsked, VoteGiven, WireError,
        },
    },
    snapshots::Snapshots,
};

type RpcError = RPCError<u64, Peer, RaftError<u64>>;

/// Between two attempts to reach a member that cannot be reached. A heartbeat long: when it is back, it hears of its
/// leader before it calls an election.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) standing: Standing,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) contact: Contact,
    pub(crate) invited: Invited,
}

#[derive(Debug)]
pub(crate) struct Link {
    network: Network,
    target: Target,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Link {
        Link { network: self.clone(), target: Target { raft_id: target, peer: peer.clone() } }
    }
}

impl Network {
    pub(crate) async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        target: &Target,
        call: Call,
        body: Q,
    ) -> Result<A, TransportError> {
        let message = wire::encode(&self.standing.seal(target.raft_id, body))?;
        let answer = self.transport.call(target, call, message).await?;
        self.open(target, &answer)
    }

    fn open<A: DeserializeOwned>(&self, target: &Target, answer: &[u8]) -> Result<A, TransportError> {
        match wire::decode(answer)? {
            Reply::Given(answer) => {
                self.contact.answered(target.raft_id);
                Ok(answer)
            }
            Reply::Refused(why) => {
                self.standing.refused(why);
                Err(TransportError::Refused(why.to_string()))
            }
        }
    }

    /// Why this manager stands for election in the term that it asks votes for.
    fn candidacy(&self, asked: &VoteAsked) -> Candidacy {
        let handed = self.invited.load(Ordering::Relaxed);
        if handed != 0 && asked.vote.leader_id().term == handed + 1 {
            Candidacy::HandedOver { term: handed }
        } else {
            Candidacy::Silence
        }
    }
}

impl From<WireError> for TransportError {
    fn from(why: WireError) -> Self {
        TransportError::Refused(why.to_string())
    }
}

/// Unreachable makes openraft pause before it tries again, anything else does not.
fn unreachable(why: &TransportError) -> Unreachable {
    Unreachable::new(why)
}

fn rpc_error(why: &TransportError) -> RpcError {
    match why {
        TransportError::Unreachable(_) | TransportError::Refused(_) => unreachable(why).into(),
        TransportError::Broken(_) => NetworkError::new(why).into(),
    }
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(&mut self, request: Append, _option: RPCOption) -> Result<Appended, RpcError> {
        let fitting = wire::fitting(&request);
        if fitting < request.entries.len() {
            return Err(PayloadTooLarge::new_entries_hint(fitting as u64).into());
        }
        let (term, sent) = (term_of(*request.vote.leader_id()), Instant::now());
        let answer = self.network.call(&self.target, Call::Append, request).await.map_err(|why| rpc_error(&why))?;
        match &answer {
            Appended::Success | Appended::PartialSuccess(_) | Appended::Conflict => {
                self.network.contact.followed_in(self.target.raft_id, term, sent);
            }
            Appended::HigherVote(_) => {}
        }
        Ok(answer)
    }

    async fn vote(&mut self, request: VoteAsked, _option: RPCOption) -> Result<VoteGiven, RpcError> {
        let ballot = Ballot { why: self.network.candidacy(&request), asked: request };
        self.network.call(&self.target, Call::Vote, ballot).await.map_err(|why| rpc_error(&why))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotTaken, StreamingError<TypeConfig, Fatal<u64>>> {
        let send = async {
            let offer = Offer { vote, meta: snapshot.meta };
            let offer = wire::encode(&self.network.standing.seal(self.target.raft_id, offer))?;
            let chunks = self.network.snapshots.chunks(&snapshot.snapshot);
            let answer = self.network.transport.snapshot(&self.target, offer, chunks).await?;
            self.network.open(&self.target, &answer)
        };
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = send => sent.map_err(|why| StreamingError::Unreachable(unreachable(&why))),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(iter::repeat(PAUSE))
    }
}
