//! How openraft reaches the other members. With one voter there is nobody to reach; the transport takes this file's
//! place behind the same two traits.

use std::{future::Future, io};

use openraft::{
    error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, RaftNetwork, RaftNetworkFactory},
    raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse},
};

use crate::raft::{Peer, TypeConfig, Vote};

type RpcError = RPCError<u64, Peer, RaftError<u64>>;

/// A network without anybody else on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alone;

#[derive(Debug)]
pub(crate) struct Nobody(Peer);

impl Nobody {
    fn unreachable(&self) -> Unreachable {
        Unreachable::new(&io::Error::new(io::ErrorKind::NotConnected, format!("no connection to {}", self.0)))
    }
}

impl RaftNetworkFactory<TypeConfig> for Alone {
    type Network = Nobody;

    async fn new_client(&mut self, _target: u64, peer: &Peer) -> Nobody {
        Nobody(peer.clone())
    }
}

impl RaftNetwork<TypeConfig> for Nobody {
    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RpcError> {
        Err(self.unreachable().into())
    }

    async fn vote(&mut self, _request: VoteRequest<u64>, _option: RPCOption) -> Result<VoteResponse<u64>, RpcError> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: openraft::Snapshot<TypeConfig>,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<TypeConfig, Fatal<u64>>> {
        Err(self.unreachable().into())
    }
}
