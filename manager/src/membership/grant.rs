//! What makes a host a node in its present role: a signed certificate, and the answer that carries it.
//!
//! What the state keeps of a certificate is decided first ([`Membership::prepare`]), the certificate itself is signed
//! once the state has it ([`Membership::grant`]): only then is it known which manager of the Raft group it is for.

use muster_core::{rejection::Rejection, state::State};
use muster_proto::{
    id::NodeId,
    node::{Node, Role},
    time::Timestamp,
    trust::{CertificateAuthority, NodeCertificate},
    v1,
};
use tonic::Status;

use super::Membership;
use crate::{
    ca::{self, Authority, Part},
    founding,
    manager::Handle,
    status,
};

/// A certificate that is about to be.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What the state keeps of it.
    pub(super) record: NodeCertificate,
    public_key: Vec<u8>,
    signer: Authority,
    authority: CertificateAuthority,
}

impl Membership {
    /// Under the root that signs now. What could be wrong with it is found here.
    pub(super) fn prepare(&self, role: Role, public_key: Vec<u8>) -> Result<Prepared, Status> {
        let Handle { replica, config, outside, .. } = &self.handle;
        let (authority, validity) = replica.read(|state| {
            let validity = state.cluster().map(|cluster| cluster.spec.certificate_validity);
            state.authority().cloned().zip(validity).ok_or_else(|| status::rejected(&Rejection::NoAuthority))
        })?;
        let expires_at = outside.clock.now() + validity;
        let signer = founding::unseal(&authority, &config.cluster_key).map_err(|error| status::unsigned(&error))?;
        ca::check_public_key(&public_key).map_err(|error| status::unsigned(&error.into()))?;
        let record = NodeCertificate {
            key: ca::digest_of(&public_key),
            root: authority.root.digest,
            role,
            expires_at,
            shown: None,
        };
        Ok(Prepared { record, public_key, signer, authority })
    }

    /// Everything in it is as the state has it now, but for the root that signs.
    pub(super) fn grant(&self, id: NodeId, prepared: &Prepared) -> Result<v1::Grant, Status> {
        let Handle { replica, config, outside, .. } = &self.handle;
        let now = outside.clock.now();
        replica.read(|state| grant(state, id, prepared, now, config.cluster_key.bytes()))
    }
}

fn grant(
    state: &State,
    id: NodeId,
    prepared: &Prepared,
    now: Timestamp,
    cluster_key: &[u8],
) -> Result<v1::Grant, Status> {
    let cluster = state.cluster().ok_or_else(|| status::rejected(&Rejection::NoCluster))?;
    let node = state.node(id).ok_or_else(|| status::rejected(&Rejection::NoSuchNode(id)))?;
    let part = part(node);
    let role = prepared.record.role;
    if part.role() != role {
        return Err(status::rejected(&Rejection::OtherRole(id, node.spec.role)));
    }
    let validity = prepared.record.expires_at.since(now);
    let certificate_pem = prepared
        .signer
        .sign(id, part, &prepared.public_key, now, validity)
        .map_err(|error| status::unsigned(&error.into()))?;
    let cluster_key = match role {
        Role::Manager => Some(cluster_key.to_vec()),
        Role::Worker => None,
    };
    Ok(v1::Grant {
        cluster_id: cluster.id.to_string(),
        node_id: id.to_string(),
        role: v1::Role::from(role).into(),
        certificate_pem: prepared.authority.chain(&certificate_pem),
        roots_pem: prepared.authority.roots().map(|root| root.certificate_pem.clone()).collect(),
        raft_id: part.raft_id().map(|id| id.0),
        cluster_key,
        managers: state.managers().map(|manager| manager.address.clone()).collect(),
        incarnation: cluster.incarnation,
    })
}

/// A node has a Raft id where it is a manager, and only there.
fn part(node: &Node) -> Part {
    match node.raft_id {
        Some(raft_id) => Part::Manager(raft_id),
        None => Part::Worker,
    }
}
