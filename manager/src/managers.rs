//! The managers as the leader sees them: who decides, who is up, who lags behind.

use muster_proto::{convert::ManagerNow, version::RaftId};

use crate::{manager::Handle, quorum::Managers};

impl Handle {
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
