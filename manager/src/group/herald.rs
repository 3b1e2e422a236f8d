//! Tells former managers that the cluster was recovered or restored without them. Who comes back would elect a leader
//! with others of its time, at addresses that the manager of now may not have: nobody would tell them, and two clusters
//! of one id would run.
//!
//! The leader alone does it, at the nodes that have no session with it and where they were last. What is sent is a
//! question of the present incarnation, which a manager of an earlier one refuses and stops
//! ([`crate::raft::standing`]); a worker knows no such call. Losing all of it costs one round.

use std::time::Duration;

use muster_proto::node::{Node, NodeState};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    leases::Leases,
    raft::{Peer, members::Members},
    replica::Replica,
};

/// Between two rounds. With few nodes away who comes back is told before a lease is over, and so before its like replace
/// anything.
const ROUND: Duration = Duration::from_secs(1);
/// An answer that takes longer is not waited for; the word may have arrived.
const WORD_MAX: Duration = Duration::from_secs(1);
/// Nodes that are told at once.
const AT_ONCE: usize = 8;

pub(crate) struct Herald {
    pub(crate) members: Members,
    pub(crate) replica: Replica,
    pub(crate) leases: Leases,
}

impl Herald {
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.go_round() => {}
        }
    }

    async fn go_round(&self) {
        loop {
            if self.replica.leading().is_some() {
                let absent = self.absent();
                for some in absent.chunks(AT_ONCE) {
                    let told = some.iter().map(|peer| timeout(WORD_MAX, self.members.tell(peer.clone())));
                    futures_util::future::join_all(told).await;
                }
            }
            sleep(ROUND).await;
        }
    }

    /// None in a cluster that was never recovered.
    fn absent(&self) -> Vec<Peer> {
        let is_absent = |node: &&Node| node.raft_id.is_none() && self.leases.state(node.id) != NodeState::Ready;
        self.replica.read(|state| {
            let was_recovered = state.cluster().is_some_and(|cluster| cluster.incarnation > 1);
            let nodes = state.nodes().filter(|_| was_recovered).filter(is_absent);
            nodes.map(|node| Peer { node_id: node.id, address: node.address.clone() }).collect()
        })
    }
}
