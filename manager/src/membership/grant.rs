//! What makes a host a node in its present role: a signed certificate, and the answer that carries it.

use muster_core::{rejection::Rejection, state::State};
use muster_proto::{
    id::NodeId,
    node::Role,
    trust::{CertificateAuthority, NodeCertificate},
    v1,
};
use tonic::Status;

use super::Membership;
use crate::{ca, founding, manager::Handle, status};

/// A certificate that nobody has been given yet.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) pem: String,
    /// What the state keeps of it.
    pub(super) record: NodeCertificate,
    authority: CertificateAuthority,
}

impl Membership {
    /// With the root that signs now.
    pub(super) fn sign(&self, id: NodeId, role: Role, public_key: &[u8]) -> Result<Signed, Status> {
        let Handle { replica, config, outside, .. } = &self.handle;
        let (authority, validity) = replica.read(|state| {
            let validity = state.cluster().map(|cluster| cluster.spec.certificate_validity);
            state.authority().cloned().zip(validity).ok_or_else(|| status::rejected(&Rejection::NoAuthority))
        })?;
        let expires_at = outside.clock.now() + validity;
        let signer = founding::unseal(&authority, &config.cluster_key).map_err(|error| status::unsigned(&error))?;
        let pem = signer
            .sign(id, role, public_key, validity)
            .map_err(|error| status::unsigned(&founding::FoundingError::from(error)))?;
        let record = NodeCertificate { key: ca::digest_of(public_key), root: authority.root.digest, role, expires_at };
        Ok(Signed { pem, record, authority })
    }

    /// Everything in it is as the state has it now, but for the certificate and the root that signed it.
    pub(super) fn grant(&self, id: NodeId, signed: Signed) -> Result<v1::Grant, Status> {
        self.handle.replica.read(|state| grant(state, id, signed, self.handle.config.cluster_key.bytes()))
    }
}

fn grant(state: &State, id: NodeId, signed: Signed, cluster_key: &[u8]) -> Result<v1::Grant, Status> {
    let cluster = state.cluster().ok_or_else(|| status::rejected(&Rejection::NoCluster))?;
    let node = state.node(id).ok_or_else(|| status::rejected(&Rejection::NoSuchNode(id)))?;
    let role = signed.record.role;
    if node.spec.role != role {
        return Err(status::rejected(&Rejection::OtherRole(id, node.spec.role)));
    }
    let cluster_key = match role {
        Role::Manager => Some(cluster_key.to_vec()),
        Role::Worker => None,
    };
    Ok(v1::Grant {
        cluster_id: cluster.id.to_string(),
        node_id: id.to_string(),
        role: v1::Role::from(role).into(),
        certificate_pem: signed.pem,
        roots_pem: signed.authority.roots().map(|root| root.certificate_pem.clone()).collect(),
        raft_id: node.raft_id.map(|id| id.0),
        cluster_key,
        managers: state.managers().map(|manager| manager.address.clone()).collect(),
        incarnation: cluster.incarnation,
    })
}
