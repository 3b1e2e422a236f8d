//! The managers as the leader sees them: who decides, who is up, who lags behind.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use muster_core::rejection::Rejection;
use muster_proto::{convert::ManagerNow, id::NodeId, version::RaftId};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tonic::Status;

use crate::{
    manager::Handle,
    quorum::{self, Managers},
    raft, status,
};

/// Far above what a change of the Raft group takes while a quorum is up.
const OUT_OF_GROUP_MAX: Duration = Duration::from_secs(10);

/// Held by whoever takes a manager out.
pub(crate) type Turn = OwnedSemaphorePermit;

/// Whether the Raft group counts on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Out,
    /// Still, after some time.
    In,
}

impl Handle {
    /// Whether a manager is one of several, and those that are left are a quorum that is up. The turn is to be kept
    /// until what follows from the answer is applied: two that leave at once would each be told that the other stays.
    pub(crate) async fn can_do_without(&self, id: NodeId) -> Result<Turn, Status> {
        let Ok(turn) = Arc::clone(&self.turns).acquire_owned().await else { return Err(status::stopping()) };
        if self.replica.read(|state| state.managers().all(|node| node.id == id)) {
            return Err(status::rejected(&Rejection::LastManager(id)));
        }
        let group = self.members.who_answers().await;
        quorum::without(&self.staying(&group), id).map_err(|error| status::quorum(&error))?;
        Ok(turn)
    }

    /// What is to be said of the managers that are left when this one goes; nothing where it is none.
    #[must_use]
    pub fn advice_without(&self, id: NodeId) -> Option<String> {
        let (own, others) = self.replica.read(|state| {
            let (own, others): (Vec<NodeId>, Vec<NodeId>) =
                state.managers().map(|node| node.id).partition(|manager| *manager == id);
            (own.len(), others.len())
        });
        if own == 0 { None } else { quorum::advice(others) }
    }

    /// Those who are managers by the state too: one that was demoted is on its way out.
    fn staying(&self, group: &raft::members::Group) -> Managers {
        let wanted: BTreeSet<RaftId> =
            self.replica.read(|state| state.managers().filter_map(|node| node.raft_id).collect());
        self.rows(group).filter(|(_, now)| wanted.contains(&now.raft_id)).collect()
    }

    /// Waits until the Raft group counts on the node no more, or only as the manager that it is `now`. A leader that was
    /// demoted hands over meanwhile, and its caller goes on with the next one.
    pub(crate) async fn out_of_group(&self, node: NodeId, now: Option<RaftId>) -> Result<Group, Status> {
        let mut leadership = self.replica.leadership();
        let is_now = |raft_id: u64| now == Some(RaftId(raft_id));
        let gone = self.members.until(|group| group.peers.iter().all(|(id, peer)| peer.node_id != node || is_now(*id)));
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
        self.rows(&self.members.now()).collect()
    }

    /// By Raft id, which grows: of a node that was demoted and promoted again, the last row is the one that counts.
    fn rows<'a>(&'a self, group: &'a raft::members::Group) -> impl Iterator<Item = (NodeId, ManagerNow)> + 'a {
        let own = self.config.node_id;
        let row = move |(raft_id, peer): (&u64, &raft::Peer)| {
            let is_self = peer.node_id == own;
            let matched = group.matched.get(raft_id).copied();
            let lag = if is_self { 0 } else { matched.map_or(group.last, |index| group.last.saturating_sub(index)) };
            let reachable = group.is_heard(*raft_id, self.members.me());
            let now = ManagerNow { raft_id: RaftId(*raft_id), voter: group.voters.contains(raft_id), reachable, lag };
            (peer.node_id, now)
        };
        group.peers.iter().map(row)
    }

    /// Returns once this manager has a say in what is committed.
    pub async fn until_voter(&self) {
        let own = self.config.raft_id;
        self.members.until(|group| group.voters.contains(&own)).await;
    }
}
