//! Commands about the cluster and its nodes.

use std::time::Duration;

use muster_proto::{
    cluster::{Cluster, ClusterSpec},
    id::{ClusterId, NodeId, TaskId, TokenId},
    node::{Node, NodeDescription, NodeSpec, Role},
    time::Timestamp,
    trust::NodeCertificate,
    version::{RaftId, Version},
};

use super::{Stamp, Touched, trust};
use crate::{
    command::Founding,
    effect,
    rejection::Rejection,
    state::State,
    terms::{self, Terms},
};

/// Of removed nodes whose certificates are remembered as void.
const REMOVED_MAX: usize = 4_096;
/// The manager's `ca` takes a node's expired certificate for a renewal for this long at least.
const GRACE_MIN: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn create_cluster(
    state: &mut State,
    stamp: Stamp,
    (id, spec): (ClusterId, &ClusterSpec),
    (node_id, node, address): (NodeId, &NodeSpec, &str),
    founding: Option<&Founding>,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    if state.cluster.is_some() {
        return Err(Rejection::ClusterExists);
    }
    state.cluster = Some(Cluster {
        id,
        version: stamp.version(),
        created_at: stamp.at,
        spec: spec.clone(),
        next_raft_id: RaftId(1),
        former_lease: None,
        incarnation: 1,
    });
    join(state, stamp, node_id, node, address, touched)?;
    if let Some(Founding { authority, certificate, tokens, log_format }) = founding {
        state.authority = Some(authority.clone());
        state.tokens = tokens.iter().map(|token| (token.id, token.clone())).collect();
        certify(state, stamp, node_id, certificate, *log_format, touched)?;
    }
    Ok(stamp.version())
}

pub(super) fn update_cluster(
    state: &mut State,
    stamp: Stamp,
    read: Version,
    spec: &ClusterSpec,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let before = Terms::of(state);
    let cluster = state.cluster.as_mut().ok_or(Rejection::NoCluster)?;
    if cluster.version != read {
        return Err(Rejection::ClusterChanged { read, now: cluster.version });
    }
    if cluster.spec != *spec {
        cluster.spec = spec.clone();
        cluster.version = stamp.version();
        // Leases, limits and histories follow the settings, and agents have to hear of theirs.
        touched.capacity = true;
        touched.orders = true;
        touched.services.extend(state.services.keys().copied());
        note_terms(state, stamp, before, touched);
    }
    Ok(state.cluster.as_ref().map_or(read, |cluster| cluster.version))
}

/// Every agent has to hear of other terms, and those that do not are remembered to count on the ones before.
fn note_terms(state: &mut State, stamp: Stamp, before: Terms, touched: &mut Touched) {
    if Terms::of(state) == before {
        return;
    }
    touched.orders = true;
    let former = terms::former_lease(state, before, stamp.at);
    if let Some(cluster) = &mut state.cluster {
        cluster.former_lease = former.or(cluster.former_lease);
    }
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
    let raft_id = match spec.role {
        Role::Manager => Some(next_raft_id(state)?),
        Role::Worker => None,
    };
    let node = Node {
        id,
        version: stamp.version(),
        created_at: stamp.at,
        updated_at: stamp.at,
        spec: spec.clone(),
        description: None,
        address: address.to_owned(),
        raft_id,
        certificate: None,
        certified_until: None,
        log_format: 1,
    };
    touched.node(None, Some(&node));
    let before = Terms::of(state);
    state.nodes.insert(id, node);
    note_terms(state, stamp, before, touched);
    touched.nodes.insert(id);
    Ok(stamp.version())
}

fn next_raft_id(state: &mut State) -> Result<RaftId, Rejection> {
    let cluster = state.cluster.as_mut().ok_or(Rejection::NoCluster)?;
    let given = cluster.next_raft_id;
    cluster.next_raft_id = RaftId(given.0.saturating_add(1));
    Ok(given)
}

/// A host that comes with a token.
pub(super) struct Newcomer<'a> {
    pub(super) id: NodeId,
    pub(super) spec: &'a NodeSpec,
    pub(super) address: &'a str,
    pub(super) certificate: &'a NodeCertificate,
    pub(super) log_format: u16,
}

/// A host whose answer was lost asks again with the key it has, and is not admitted twice.
pub(super) fn admit(
    state: &mut State,
    stamp: Stamp,
    newcomer: &Newcomer<'_>,
    token: TokenId,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let &Newcomer { id, spec, address, certificate, log_format } = newcomer;
    if state.was_removed(id) {
        return Err(Rejection::NodeRemoved(id));
    }
    if let Some(node) = state.node(id) {
        let same = node.certificate.as_ref().is_some_and(|held| held.key == certificate.key);
        if !same {
            return Err(Rejection::OtherKey(id));
        }
        return certify(state, stamp, id, certificate, log_format, touched);
    }
    if let Some(other) = state.nodes().find(|node| node.address == address) {
        return Err(Rejection::AddressTaken { address: address.to_owned(), node: other.id });
    }
    if state.tokens.get(&token).is_some_and(|token| token.role == Role::Manager) {
        reads_the_log(state, log_format)?;
    }
    let role = trust::redeem(state, stamp, token)?;
    let spec = NodeSpec { role, ..spec.clone() };
    join(state, stamp, id, &spec, address, touched)?;
    certify(state, stamp, id, &NodeCertificate { role, ..certificate.clone() }, log_format, touched)
}

/// A certificate is no change that anybody who edits the node need know of: the version stays.
pub(super) fn certify(
    state: &mut State,
    stamp: Stamp,
    id: NodeId,
    certificate: &NodeCertificate,
    log_format: u16,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let is_rotating = state.authority.as_ref().is_some_and(|authority| authority.previous.is_some());
    let validity = state.cluster.as_ref().map(|cluster| cluster.spec.certificate_validity).unwrap_or_default();
    let node = state.nodes.get_mut(&id).ok_or(Rejection::NoSuchNode(id))?;
    if node.spec.role != certificate.role {
        return Err(Rejection::OtherRole(id, node.spec.role));
    }
    node.certified_until = node.certified_until.max(Some(good_until(certificate, validity)));
    node.certificate = Some(certificate.clone());
    node.log_format = log_format;
    node.updated_at = stamp.at;
    if is_rotating {
        // It is told whether it has to show this one.
        touched.nodes.insert(id);
    }
    Ok(node.version)
}

pub(super) fn change_role(
    state: &mut State,
    stamp: Stamp,
    (id, read): (NodeId, Version),
    role: Role,
    touched: &mut Touched,
) -> Result<Version, Rejection> {
    let node = state.node(id).ok_or(Rejection::NoSuchNode(id))?;
    if node.version != read {
        return Err(Rejection::NodeChanged { read, now: node.version });
    }
    let raft_id = match (node.spec.role, role) {
        (Role::Worker, Role::Worker) | (Role::Manager, Role::Manager) => return Ok(node.version),
        (Role::Worker, Role::Manager) => {
            reads_the_log(state, node.log_format)?;
            Some(next_raft_id(state)?)
        }
        (Role::Manager, Role::Worker) => {
            not_the_last_manager(state, id)?;
            None
        }
    };
    let node = state.nodes.get_mut(&id).ok_or(Rejection::NoSuchNode(id))?;
    let before = node.clone();
    node.spec.role = role;
    node.raft_id = raft_id;
    node.version = stamp.version();
    node.updated_at = stamp.at;
    touched.node(Some(&before), Some(node));
    touched.nodes.insert(id);
    Ok(stamp.version())
}

/// Its tasks are lost with it: whether they still run there, nobody will be told.
pub(super) fn remove(state: &mut State, stamp: Stamp, id: NodeId, touched: &mut Touched) -> Result<Version, Rejection> {
    let node = state.node(id).ok_or(Rejection::NoSuchNode(id))?;
    if node.raft_id.is_some() {
        not_the_last_manager(state, id)?;
    }
    let until = void_until(state, node);
    let tasks: Vec<TaskId> = state.tasks_of_node(id).map(|task| task.id).collect();
    let before = Terms::of(state);
    let removed = state.nodes.remove(&id);
    note_terms(state, stamp, before, touched);
    touched.node(removed.as_ref(), None);
    remember_removed(state, stamp, id, until);
    // Every node is told whom it is to cut off.
    touched.orders = true;
    for task in tasks {
        let changed = state.edit_task(task, |task| {
            if task.status.state.is_final() {
                task.status.removed = true;
            } else {
                effect::orphan(task, stamp.at);
            }
            task.version = stamp.version();
        });
        let Some((before, after)) = changed else { continue };
        touched.task(state, Some(&before), Some(&after));
    }
    touched.nodes.insert(id);
    Ok(stamp.version())
}

/// An expired certificate is still good for a renewal, for as long again as it was valid and a day at least.
fn good_until(certificate: &NodeCertificate, validity: Duration) -> Timestamp {
    certificate.expires_at + validity.max(GRACE_MIN)
}

/// How long it must not be forgotten that the node was removed.
pub(crate) fn void_until(state: &State, node: &Node) -> Timestamp {
    let validity = state.cluster.as_ref().map(|cluster| cluster.spec.certificate_validity).unwrap_or_default();
    let newest = node.certificate.as_ref().map_or(Timestamp::MAX, |held| good_until(held, validity));
    node.certified_until.map_or(newest, |until| until.max(newest))
}

/// Whose certificates end first is forgotten first, where there are too many.
fn remember_removed(state: &mut State, stamp: Stamp, id: NodeId, until: Timestamp) {
    state.removed_nodes.retain(|_, until| *until > stamp.at);
    while state.removed_nodes.len() >= REMOVED_MAX {
        let first = state.removed_nodes.iter().min_by_key(|(id, until)| (**until, **id)).map(|(id, _)| *id);
        let Some(first) = first else { break };
        state.removed_nodes.remove(&first);
    }
    state.removed_nodes.insert(id, until);
}

/// A manager that meets an entry of a newer format than it reads stops; one that is to be must not be so.
fn reads_the_log(state: &State, reads: u16) -> Result<(), Rejection> {
    let uses = state.log_format();
    if reads >= uses { Ok(()) } else { Err(Rejection::ReadsOlderLog { reads, uses }) }
}

fn not_the_last_manager(state: &State, id: NodeId) -> Result<(), Rejection> {
    if state.managers().any(|node| node.id != id) { Ok(()) } else { Err(Rejection::LastManager(id)) }
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
    let spec = NodeSpec { role: node.spec.role, ..spec.clone() };
    if node.spec != spec {
        let before = node.clone();
        node.spec = spec;
        node.version = stamp.version();
        node.updated_at = stamp.at;
        touched.node(Some(&before), Some(node));
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
    let other = state.nodes().find(|other| other.id != id && other.address == address).map(|other| other.id);
    let node = state.nodes.get_mut(&id).ok_or(Rejection::NoSuchNode(id))?;
    // Where two have it already, as a manager of a version before let them, their descriptions are still of use.
    if let Some(other) = other.filter(|_| node.address != address) {
        return Err(Rejection::AddressTaken { address: address.to_owned(), node: other });
    }
    if node.description.as_ref() != Some(description) || node.address != address {
        let before = node.clone();
        node.description = Some(description.clone());
        node.address = address.to_owned();
        node.version = stamp.version();
        node.updated_at = stamp.at;
        touched.node(Some(&before), Some(node));
    }
    Ok(node.version)
}
