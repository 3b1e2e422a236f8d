//! A node's next certificate, in the role that the cluster has for it now.

use muster_core::{
    command::{Command, Outcome},
    rejection::Rejection,
};
use muster_proto::{id::NodeId, node::Role, trust::NodeCertificate, v1, version::RaftId};
use tonic::Status;

use super::{Membership, wish};
use crate::{ca::PeerIdentity, manager::Handle, managers::Group, status};

/// Its role may be changed while its certificate is signed; nobody changes it this often in that time.
const ATTEMPTS_MAX: u32 = 3;

impl Membership {
    pub(super) async fn certify(&self, caller: &PeerIdentity, request: v1::RenewRequest) -> Result<v1::Grant, Status> {
        let public_key = wish::public_key(request.public_key)?;
        let log_format = wish::log_format(request.log_format)?;
        self.up_to_date().await?;
        let mut refused = Rejection::NoSuchNode(caller.node_id);
        for _ in 0..ATTEMPTS_MAX {
            let (role, raft_id) = self.role_of(caller)?;
            self.former_is_out(caller.node_id, raft_id).await?;
            let prepared = self.prepare(role, public_key.clone())?;
            let certificate = NodeCertificate { shown: caller.root, ..prepared.record.clone() };
            let command = Command::CertifyNode { id: caller.node_id, certificate, log_format };
            match self.outcome(command).await? {
                Outcome::Done { .. } | Outcome::Partly { .. } => return self.grant(caller.node_id, &prepared),
                Outcome::Rejected(why @ Rejection::OtherRole(..)) => refused = why,
                Outcome::Rejected(why) => return Err(status::rejected(&why)),
            }
        }
        Err(status::rejected(&refused))
    }

    /// A node that is told that it is no manager, or another than before, ends the one that it was. Until the Raft group
    /// has let that go, its vote may be needed for it.
    async fn former_is_out(&self, id: NodeId, now: Option<RaftId>) -> Result<(), Status> {
        match self.handle.out_of_group(id, now).await? {
            Group::Out => Ok(()),
            Group::In => {
                Err(Status::unavailable("the managers have not let this node go yet; its daemon asks again by itself"))
            }
        }
    }

    fn role_of(&self, caller: &PeerIdentity) -> Result<(Role, Option<RaftId>), Status> {
        let id: NodeId = caller.node_id;
        self.handle.replica.read(|state| {
            let here = state.cluster().map(|cluster| cluster.id);
            match state.node(id) {
                Some(node) if here == Some(caller.cluster_id) => Ok((node.spec.role, node.raft_id)),
                Some(_) | None => Err(status::rejected(&Rejection::NodeRemoved(id))),
            }
        })
    }
}

impl Handle {
    /// This manager's own next certificate, signed by itself from what it has: for one whose certificate has run out,
    /// or is that of the manager it was before a recovery, so that nobody would listen to it.
    /// The state does not hear of it: renew it as soon as the others take it.
    pub fn certify_self(&self, public_key_der: &[u8]) -> Result<v1::Grant, Status> {
        let (membership, own) = (Membership { handle: self.clone() }, self.config.node_id);
        let prepared = membership.prepare(Role::Manager, public_key_der.to_vec())?;
        membership.grant(own, &prepared)
    }
}
