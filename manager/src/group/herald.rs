//! Calls nodes that have no session with the leader, at the addresses where they were last.
//!
//! Each is told where the managers are now: a node of a cluster that was restored on another host, or whose managers have
//! all moved, would look for them in vain. In a cluster that was recovered or restored, those that are no managers are
//! also asked a question of the present incarnation, which a manager of an earlier one refuses and stops
//! ([`crate::raft::standing`]); else those that come back would elect a leader of their own, and two clusters of one id
//! would run. The leader alone calls. Losing all of it costs one round. In each the connections are closed that neither
//! members nor the absent are called on any more.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use muster_core::assign;
use muster_proto::{
    node::{Node, NodeState},
    v1,
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    leases::Leases,
    raft::{Peer, members::Members},
    replica::Replica,
};

/// Between two rounds. Who comes back is told before a lease is over, and so before its like replace anything.
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

struct Absent {
    peer: Peer,
    /// It may think that it is a manager, of an earlier incarnation.
    may_lead: bool,
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
            let (absent, word) = if self.replica.leading().is_some() { self.absent() } else { Default::default() };
            self.members.keep_connections(absent.iter().map(|absent| absent.peer.node_id));
            tell(absent, |absent| self.call(absent, &word)).await;
            sleep(ROUND).await;
        }
    }

    async fn call(&self, absent: Absent, word: &v1::TellRequest) {
        let Absent { peer, may_lead } = absent;
        let is_none_of_now = async {
            if may_lead {
                self.members.tell(peer.clone()).await;
            }
        };
        tokio::join!(is_none_of_now, self.members.tell_whereabouts(&peer, word.clone()));
    }

    fn absent(&self) -> (Vec<Absent>, v1::TellRequest) {
        let is_absent = |node: &&Node| self.leases.state(node.id) != NodeState::Ready;
        self.replica.read(|state| {
            let incarnation = state.cluster().map_or(0, |cluster| cluster.incarnation);
            let absent = |node: &Node| Absent {
                peer: Peer { node_id: node.id, address: node.address.clone() },
                may_lead: incarnation > 1 && node.raft_id.is_none(),
            };
            let nodes = state.nodes().filter(is_absent).map(absent).collect();
            (nodes, v1::TellRequest { managers: assign::manager_addresses(state), incarnation })
        })
    }
}

async fn tell<T, F: Future<Output = ()>>(absent: Vec<T>, word: impl Fn(T) -> F) {
    let told = absent.into_iter().map(|one| timeout(WORD_MAX, word(one)));
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
