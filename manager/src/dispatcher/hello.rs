//! Whether a session may begin. Pure.

use muster_core::{rejection::Rejection, state::State};
use muster_proto::{
    assignment::SESSION_PROTOCOL,
    id::{ClusterId, ID_TEXT_LEN, NodeId},
    v1::agent_message::Hello,
};
use tonic::Status;

use crate::{ca::PeerIdentity, membership, status};

/// The node that may have a session: a member of this cluster, and the one its certificate names.
pub(super) fn check(hello: &Hello, peer: &PeerIdentity, state: &State) -> Result<NodeId, Status> {
    if hello.protocol != SESSION_PROTOCOL {
        return Err(Status::failed_precondition(format!(
            "the agent speaks session protocol {}, this manager {SESSION_PROTOCOL}; run the same version of muster on both",
            hello.protocol,
        )));
    }
    let here = state.cluster().map(|cluster| cluster.id);
    if here.is_none() || hello.cluster_id.parse::<ClusterId>().ok() != here || Some(peer.cluster_id) != here {
        return Err(Status::permission_denied(
            "the node belongs to another cluster; run `muster leave` there before it joins this one",
        ));
    }
    if let Some(here) = state.cluster().map(|cluster| cluster.incarnation).filter(|here| *here < hello.incarnation) {
        return Err(Status::failed_precondition(format!(
            "this manager was left behind when the cluster was recovered (its incarnation is {here}, the node has seen {}); \
             run `muster leave --force` on the manager and join it again",
            hello.incarnation,
        )));
    }
    if hello.node_id.parse::<NodeId>().ok() != Some(peer.node_id) {
        let said: String = hello.node_id.chars().take(ID_TEXT_LEN).collect();
        return Err(Status::permission_denied(format!(
            "the agent says that it is node {said:?}, and its certificate is that of node {}; give each node its own data \
             folder",
            peer.node_id,
        )));
    }
    if state.node(peer.node_id).is_none() {
        return Err(not_a_member(peer.node_id));
    }
    Ok(peer.node_id)
}

/// Where others reach the node from now on: where it says, which must be no other node's address. `own` is where this
/// manager is reached.
pub(super) fn address(hello: &Hello, node: NodeId, state: &State, own: &str) -> Result<String, Status> {
    let said = &hello.advertise_addr;
    if said.is_empty() {
        return state.node(node).map(|row| row.address.clone()).ok_or_else(|| not_a_member(node));
    }
    let address = membership::address(said, own)?;
    match state.nodes().find(|row| row.id != node && row.address == address) {
        Some(other) => Err(status::rejected(&Rejection::AddressTaken { address, node: other.id })),
        None => Ok(address),
    }
}

pub(super) fn not_a_member(node: NodeId) -> Status {
    Status::permission_denied(format!(
        "node {node} is not a member of this cluster (any more); run `muster leave --force` there and join it again"
    ))
}
