//! Tells former managers that the cluster was recovered or restored without them. Who comes back would elect a leader
//! with others of its time, at addresses that the manager of now may not have: nobody would tell them, and two clusters
//! of one id would run.
//!
//! The leader alone does it, at the nodes that have no session with it and where they were last. What is sent is a
//! question of the present incarnation, which a manager of an earlier one refuses and stops
//! ([`crate::raft::standing`]); a worker knows no such call. Losing all of it costs one round. In each the connections are
//! closed that neither members nor the absent are called on any more.

use std::time::Duration;

use futures_util::{StreamExt, stream};
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
const AT_ONCE: usize = 64;

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
            let absent = if self.replica.leading().is_some() { self.absent() } else { Vec::new() };
            self.members.keep_connections(&absent);
            tell(absent, |peer| self.members.tell(peer)).await;
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

async fn tell<F: Future<Output = ()>>(absent: Vec<Peer>, word: impl Fn(Peer) -> F) {
    let told = absent.into_iter().map(|peer| timeout(WORD_MAX, word(peer)));
    stream::iter(told).buffer_unordered(AT_ONCE).for_each(async |_| {}).await;
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::future::Either;
    use muster_proto::{cluster::ClusterSpec, id::NodeId};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn among_many_without_power_who_comes_back_is_told_before_a_lease_is_over() {
        let peer = |id| Peer { node_id: NodeId::from_bits(id), address: String::new() };
        let begun = Instant::now();
        let word =
            |peer: Peer| if peer.node_id.bits() == 100 { Either::Left(ready(())) } else { Either::Right(pending()) };
        tell((1..=100).map(peer).collect(), word).await;
        assert!(begun.elapsed() + ROUND <= ClusterSpec::default().lease);
    }
}
