//! Which nodes that a copy of the state knows still run as managers: they know more than the copy, and would be ended by a
//! cluster that goes on from it. Who was a worker then may be one of them.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use muster_core::{recovery, state::State};
use tokio::time::timeout;

use crate::{
    connect::Connect,
    raft::{
        Peer, Vote,
        grpc::Grpc,
        members::NOBODY,
        transport::{Call, Target, Transport},
        wire::{self, Ballot, Candidacy, Envelope, VoteAsked},
    },
};

/// For each: who is there answers within a round trip.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Nodes that are asked at once.
const AT_ONCE: usize = 32;

/// Their addresses. `connect` speaks for the manager that would go on. The question is one that nobody is ended by: of a
/// manager that has no state yet.
pub async fn managers(state: &State, connect: Arc<dyn Connect>) -> Vec<String> {
    let Some(cluster) = state.cluster() else { return Vec::new() };
    let (transport, from) = (Grpc::new(connect), recovery::next_raft_id(cluster).0);
    let ask = state.nodes().filter_map(|node| {
        let to = node.raft_id.map_or(NOBODY, |raft_id| raft_id.0);
        let body = Ballot { asked: VoteAsked { vote: Vote::default(), last_log_id: None }, why: Candidacy::Sounding };
        let message = wire::encode(&Envelope { cluster: cluster.id, incarnation: 0, from, to, body }).ok()?;
        let peer = Peer { node_id: node.id, address: node.address.clone() };
        let (transport, target) = (&transport, Target { raft_id: to, peer });
        Some(async move {
            let answer = timeout(ANSWER_MAX, transport.call(&target, Call::Vote, message)).await;
            // Whatever it is, a refusal too: workers and managers that were let go do not know the call.
            matches!(answer, Ok(Ok(_))).then_some(target.peer.address)
        })
    });
    stream::iter(ask).buffered(AT_ONCE).filter_map(async |running| running).collect().await
}
