//! Openraft's side of the [`Transport`]: encodes what openraft wants sent, cuts what takes too much, and puts what went
//! wrong in openraft's terms. One [`Link`] for each other member.

use std::{future::Future, iter, sync::Arc, time::Duration};

use muster_proto::id::ClusterId;
use openraft::{
    error::{
        Fatal, NetworkError, PayloadTooLarge, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
    },
    network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    raft::{
        Peer, TypeConfig, Vote,
        transport::{Call, Target, Transport, TransportError},
        wire::{self, Append, Appended, Envelope, Offer, SnapshotTaken, VoteAsked, VoteGiven, WireError},
    },
    snapshots::Snapshots,
};

type RpcError = RPCError<u64, Peer, RaftError<u64>>;

/// Between two attempts to reach a member that cannot be reached. A heartbeat long: when it is back, it hears of its
/// leader before it calls an election.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) cluster: ClusterId,
    /// This manager's Raft id.
    pub(crate) from: u64,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) snapshots: Arc<Snapshots>,
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
        let answer = self.transport.call(target, call, self.seal(body)?).await?;
        Ok(wire::decode(&answer)?)
    }

    fn seal<Q: Serialize>(&self, body: Q) -> Result<Vec<u8>, WireError> {
        wire::encode(&Envelope { cluster: self.cluster, from: self.from, body })
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
        self.network.call(&self.target, Call::Append, request).await.map_err(|why| rpc_error(&why))
    }

    async fn vote(&mut self, request: VoteAsked, _option: RPCOption) -> Result<VoteGiven, RpcError> {
        self.network.call(&self.target, Call::Vote, request).await.map_err(|why| rpc_error(&why))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotTaken, StreamingError<TypeConfig, Fatal<u64>>> {
        let send = async {
            let offer = self.network.seal(Offer { vote, meta: snapshot.meta })?;
            let chunks = self.network.snapshots.chunks(&snapshot.snapshot);
            let answer = self.network.transport.snapshot(&self.target, offer, chunks).await?;
            Ok::<_, TransportError>(wire::decode(&answer)?)
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
