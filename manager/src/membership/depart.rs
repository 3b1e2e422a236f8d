//! A node takes itself out. A manager first leaves the managers, as whoever is demoted does, so that the cluster can
//! decide all the time.

use muster_core::{
    command::{Command, Outcome},
    rejection::Rejection,
};
use muster_proto::{
    id::NodeId,
    node::{Node, Role},
    v1,
};
use tonic::Status;

use super::Membership;
use crate::{ca::PeerIdentity, managers::Group, status};

/// Its operator may change the node meanwhile; nobody does this often.
const ATTEMPTS_MAX: u32 = 3;

impl Membership {
    pub(super) async fn let_go(&self, caller: &PeerIdentity, force: bool) -> Result<v1::DepartResponse, Status> {
        self.up_to_date().await?;
        let id = caller.node_id;
        let Some(node) = self.node(caller)? else { return Ok(v1::DepartResponse {}) };
        if node.raft_id.is_some() {
            self.demote(&node, force).await?;
        }
        // Also one that was demoted a moment ago.
        self.leave_group(id, force).await?;
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
            let turn = if force { None } else { Some(self.handle.can_do_without(node.id).await?) };
            let outcome = self.outcome(Command::ChangeRole { id: node.id, version, role: Role::Worker }).await?;
            drop(turn);
            match outcome {
                Outcome::Done { .. } | Outcome::Partly { .. } => return Ok(()),
                Outcome::Rejected(Rejection::NodeChanged { now, .. }) => version = now,
                Outcome::Rejected(why) => return Err(status::rejected(&why)),
            }
        }
        Err(status::rejected(&Rejection::NodeChanged { read: node.version, now: version }))
    }

    async fn leave_group(&self, id: NodeId, force: bool) -> Result<(), Status> {
        match (self.handle.out_of_group(id, None).await?, force) {
            (Group::Out, _) | (Group::In, true) => Ok(()),
            // For its user to decide: another manager would only wait as long.
            (Group::In, false) => Err(Status::failed_precondition(
                "the other managers have not let this one go yet; repeat the command in a moment",
            )),
        }
    }
}
