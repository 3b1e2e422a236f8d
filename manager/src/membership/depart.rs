//! A node takes itself out. A manager first leaves the managers, as whoever is demoted does, so that the cluster can
//! decide all the time.

use std::time::Duration;

use muster_core::{
    command::{Command, Outcome},
    rejection::Rejection,
};
use muster_proto::{
    id::NodeId,
    node::{Node, Role},
    v1,
    version::RaftId,
};
use tokio::time::timeout;
use tonic::Status;

use super::Membership;
use crate::{ca::PeerIdentity, quorum, status};

/// Far above what a change of the Raft group takes while a quorum is up.
const OUT_OF_GROUP_MAX: Duration = Duration::from_secs(10);
/// Its operator may change the node meanwhile; nobody does this often.
const ATTEMPTS_MAX: u32 = 3;

impl Membership {
    pub(super) async fn let_go(&self, caller: &PeerIdentity, force: bool) -> Result<v1::DepartResponse, Status> {
        self.up_to_date().await?;
        let id = caller.node_id;
        let Some(node) = self.node(caller)? else { return Ok(v1::DepartResponse {}) };
        if let Some(raft_id) = node.raft_id {
            self.demote(&node, force).await?;
            self.out_of_group(raft_id, force).await?;
        }
        match self.outcome(Command::RemoveNode { id }).await? {
            Outcome::Rejected(Rejection::NoSuchNode(_)) | Outcome::Done { .. } | Outcome::Partly { .. } => {}
            Outcome::Rejected(why) => return Err(status::rejected(&why)),
        }
        tracing::info!(node = %id, "a node has left");
        Ok(v1::DepartResponse {})
    }

    /// None: it has been let go already.
    fn node(&self, caller: &PeerIdentity) -> Result<Option<Node>, Status> {
        self.handle.replica.read(|state| {
            let id: NodeId = caller.node_id;
            match state.cluster() {
                Some(cluster) if cluster.id == caller.cluster_id => Ok(state.node(id).cloned()),
                Some(_) | None => Err(status::rejected(&Rejection::NoSuchNode(id))),
            }
        })
    }

    async fn demote(&self, node: &Node, force: bool) -> Result<(), Status> {
        let mut version = node.version;
        for _ in 0..ATTEMPTS_MAX {
            if !force {
                quorum::without(&self.handle.managers(), node.id).map_err(|error| status::quorum(&error))?;
            }
            match self.outcome(Command::ChangeRole { id: node.id, version, role: Role::Worker }).await? {
                Outcome::Done { .. } | Outcome::Partly { .. } => return Ok(()),
                Outcome::Rejected(Rejection::NodeChanged { now, .. }) => version = now,
                Outcome::Rejected(why) => return Err(status::rejected(&why)),
            }
        }
        Err(status::rejected(&Rejection::NodeChanged { read: node.version, now: version }))
    }

    /// Until the Raft group counts on it no more. The leader that demotes itself hands over meanwhile, and its caller
    /// goes on with the next one.
    async fn out_of_group(&self, raft_id: RaftId, force: bool) -> Result<(), Status> {
        let mut leadership = self.handle.replica.leadership();
        let gone = self.handle.members.until(|group| !group.peers.contains_key(&raft_id.0));
        let waited = tokio::select! {
            waited = timeout(OUT_OF_GROUP_MAX, gone) => waited.is_ok(),
            lost = leadership.wait_for(|now| now.leading().is_none()) => {
                return Err(lost.map_or_else(|_closed| status::stopping(), |now| status::not_leading(&now)));
            }
        };
        if waited || force {
            return Ok(());
        }
        Err(Status::unavailable(
            "the other managers have not let this one go yet; repeat the command, or use --force where they never will",
        ))
    }
}
