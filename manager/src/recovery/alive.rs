//! Which nodes that a copy of the state knows still run as managers: they know more than the copy, and would be ended by a
//! cluster that goes on from it. Who was a worker then may be one of them.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use muster_core::{recovery, state::State};
use muster_proto::{id::ClusterId, time::Timestamp};
use tokio::time::timeout;

use crate::{
    connect::Connect,
    raft::{
        Peer, Vote,
        grpc::Grpc,
        network::NOBODY,
        transport::{Call, Target, Transport},
        wire::{self, Ballot, Candidacy, Envelope, VoteAsked},
    },
};

/// For each: who is there answers within a round trip.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Nodes that are asked at once.
const AT_ONCE: usize = 32;

/// Their addresses. `connect` speaks for the manager that would go on `now`. The question is one that nobody is ended by: of a
/// manager that has no state yet.
pub async fn managers(state: &State, now: Timestamp, connect: Arc<dyn Connect>) -> Vec<String> {
    let Some(cluster) = state.cluster() else { return Vec::new() };
    let (transport, from) = (Grpc::new(connect), recovery::next_raft_id(cluster, now).0);
    let mut targets = Vec::new();
    for node in state.nodes() {
        let raft_id = node.raft_id.map_or(NOBODY, |raft_id| raft_id.0);
        targets.push(Target { raft_id, peer: Peer { node_id: node.id, address: node.address.clone() } });
    }
    let mut running = Vec::new();
    for some in targets.chunks(AT_ONCE) {
        let answers = join_all(some.iter().map(|target| is_running(&transport, cluster.id, from, target))).await;
        let answered = some.iter().zip(answers).filter(|(_, is_running)| *is_running);
        running.extend(answered.map(|(target, _)| target.peer.address.clone()));
    }
    running
}

/// Whatever it answers, a refusal too: workers and managers that were let go do not know the call.
async fn is_running(transport: &Grpc, cluster: ClusterId, from: u64, target: &Target) -> bool {
    let asked = VoteAsked { vote: Vote::default(), last_log_id: None };
    let body = Ballot { asked, why: Candidacy::Sounding };
    let Ok(message) = wire::encode(&Envelope { cluster, incarnation: 0, from, to: target.raft_id, body }) else {
        return false;
    };
    matches!(timeout(ANSWER_MAX, transport.call(target, Call::Vote, message)).await, Ok(Ok(_)))
}
