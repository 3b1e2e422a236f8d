//! Commands about the cluster and its nodes.

use muster_proto::{
    cluster::{Cluster, ClusterSpec},
    id::{ClusterId, NodeId},
    node::{Node, NodeDescription, NodeSpec},
    version::Version,
};

use super::{Stamp, Touched};
use crate::{rejection::Rejection, state::State};

pub(super) fn create_cluster(
    state: &mut State,
    stamp: Stamp,
    (id, spec): (ClusterId, &ClusterSpec),
    (node_id, node, address): (NodeId, &NodeSpec, &str),
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    if state.cluster.is_some() {
        return Err(Rejection::ClusterExists);
    }
    state.cluster = Some(Cluster { id, version: stamp.version(), created_at: stamp.at, spec: spec.clone() });
    join(state, stamp, node_id, node, address, touched)
}

pub(super) fn join(
    state: &mut State,
    stamp: Stamp,
    id: NodeId,
    spec: &NodeSpec,
    address: &str,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    if state.nodes.contains_key(&id) {
        return Err(Rejection::NodeExists(id));
    }
    let node = Node {
        id,
        version: stamp.version(),
        created_at: stamp.at,
        updated_at: stamp.at,
        spec: spec.clone(),
        description: None,
        address: address.to_owned(),
    };
    state.nodes.insert(id, node);
    touched.capacity = true;
    touched.nodes.insert(id);
    Ok(stamp.version())
}

pub(super) fn update(
    state: &mut State,
    stamp: Stamp,
    (id, read): (NodeId, Version),
    spec: &NodeSpec,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let node = state.nodes.get_mut(&id).ok_or(Rejection::NoSuchNode(id))?;
    if node.version != read {
        return Err(Rejection::NodeChanged { read, now: node.version });
    }
    if node.spec != *spec {
        node.spec = spec.clone();
        node.version = stamp.version();
        node.updated_at = stamp.at;
        touched.capacity = true;
    }
    Ok(node.version)
}

/// An agent describes its node at every session: what is so already changes nothing.
pub(super) fn describe(
    state: &mut State,
    stamp: Stamp,
    id: NodeId,
    description: &NodeDescription,
    address: &str,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let node = state.nodes.get_mut(&id).ok_or(Rejection::NoSuchNode(id))?;
    if node.description.as_ref() != Some(description) || node.address != address {
        node.description = Some(description.clone());
        node.address = address.to_owned();
        node.version = stamp.version();
        node.updated_at = stamp.at;
        touched.capacity = true;
    }
    Ok(node.version)
}
