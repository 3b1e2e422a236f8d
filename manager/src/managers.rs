//! The managers as the leader sees them: who decides, who is up, who lags behind.

use std::time::Duration;

use muster_core::rejection::Rejection;
use muster_proto::{convert::ManagerNow, id::NodeId, version::RaftId};
use tokio::time::timeout;
use tonic::Status;

use crate::{
    manager::Handle,
    quorum::{self, Managers},
    status,
};

/// Far above what a change of the Raft group takes while a quorum is up.
const OUT_OF_GROUP_MAX: Duration = Duration::from_secs(10);

/// Whether the Raft group counts on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Out,
    /// Still, after some time.
    In,
}

impl Handle {
    /// Whether a manager is one of several, and those that are left are a quorum that is up.
    pub(crate) fn can_do_without(&self, id: NodeId) -> Result<(), Status> {
        if self.replica.read(|state| state.managers().all(|node| node.id == id)) {
            return Err(status::rejected(&Rejection::LastManager(id)));
        }
        quorum::without(&self.managers(), id).map_err(|error| status::quorum(&error))
    }

    /// Waits until the Raft group counts on the node no more, which it does not where that is no manager. A leader
    /// that was demoted hands over meanwhile, and its caller goes on with the next one.
    pub(crate) async fn out_of_group(&self, node: NodeId) -> Result<Group, Status> {
        let mut leadership = self.replica.leadership();
        let gone = self.members.until(|group| group.peers.values().all(|peer| peer.node_id != node));
        tokio::select! {
            biased;
            waited = timeout(OUT_OF_GROUP_MAX, gone) => Ok(if waited.is_ok() { Group::Out } else { Group::In }),
            lost = leadership.wait_for(|now| now.leading().is_none()) => {
                Err(lost.map_or_else(|_closed| status::stopping(), |now| status::not_leading(&now)))
            }
        }
    }

    /// Those of the Raft group. Only the leader knows more than who they are.
    pub(crate) fn managers(&self) -> Managers {
        let group = self.members.now();
        let own = self.config.node_id;
        let row = |(raft_id, peer): (&u64, &crate::raft::Peer)| {
            let is_self = peer.node_id == own;
            let matched = group.matched.get(raft_id).copied();
            let lag = if is_self { 0 } else { matched.map_or(group.last, |index| group.last.saturating_sub(index)) };
            let reachable = group.is_heard(*raft_id, self.members.me());
            let now = ManagerNow { raft_id: RaftId(*raft_id), voter: group.voters.contains(raft_id), reachable, lag };
            (peer.node_id, now)
        };
        group.peers.iter().map(row).collect()
    }

    /// Returns once this manager has a say in what is committed.
    pub async fn until_voter(&self) {
        let own = self.config.raft_id;
        self.members.until(|group| group.voters.contains(&own)).await;
    }
}
