//! The objects as users are shown them. Pure but for what the leader's memory says of nodes.

use std::collections::BTreeSet;

use muster_core::{rejection::Rejection, state::State};
use muster_proto::{
    convert::{ManagerNow, NodeNow},
    id::{NodeId, ServiceId},
    node::{Node, Role},
    service::{Mode, Service},
    task::{Slot, Task},
    task_state::TaskState,
    v1,
    version::RaftId,
};
use tonic::Status;

use super::lookup;
use crate::{manager::Handle, quorum::Managers, status};

pub(super) fn services(state: &State) -> Vec<v1::ServiceSummary> {
    state.services().map(|service| summary(state, service)).collect()
}

/// Counted by slot: while a rollout starts a new task before it stops the old one, the slot runs once.
fn summary(state: &State, service: &Service) -> v1::ServiceSummary {
    let active = || state.tasks_of_service(service.id).filter(|task| task.is_active());
    let slots: BTreeSet<Slot> = active().map(|task| task.slot).collect();
    let running = active().filter(|task| task.status.state == TaskState::Running).map(|task| task.slot);
    let running: BTreeSet<Slot> = running.collect();
    let desired = match service.spec.mode {
        Mode::Replicated { replicas } => replicas,
        // One for each node that the scheduler finds fit, so as many as there are.
        Mode::Global => count(slots.iter()),
    };
    v1::ServiceSummary { service: Some(service.into()), running: count(running.iter()), desired }
}

/// In order of id; of a removed service too.
pub(super) fn tasks(state: &State, wanted: &v1::ListTasksRequest) -> Result<Vec<v1::Task>, Status> {
    let of_service: Option<ServiceId> = match wanted.service_id.as_str() {
        "" => None,
        text => Some(lookup::service_or_remains(state, text)?),
    };
    let of_node: Option<NodeId> = match wanted.node_id.as_str() {
        "" => None,
        text => Some(lookup::node_id(state, text)?),
    };
    let on_node = |task: &&Task| of_node.is_none() || task.node_id == of_node;
    Ok(match (of_service, of_node) {
        (Some(service), _) => state.tasks_of_service(service).filter(on_node).map(Into::into).collect(),
        (None, Some(node)) => state.tasks_of_node(node).map(Into::into).collect(),
        (None, None) => state.tasks().map(Into::into).collect(),
    })
}

pub(super) fn node(handle: &Handle, managers: &Managers, node: &Node) -> v1::Node {
    let leader = handle.replica.leading().is_some() && node.id == handle.config.node_id;
    let (state, last_seen) = (handle.leases.state(node.id), handle.leases.last_seen(node.id));
    let manager = part(node.raft_id, managers.get(&node.id));
    v1::Node::from(NodeNow { node, state, leader, manager, last_seen })
}

/// A node's part in the Raft group, which follows the role: one that is to be a manager decides nothing before the group
/// has taken it in, and one that is to be none has a part until the group has let it go.
fn part(wanted: Option<RaftId>, present: Option<&ManagerNow>) -> Option<ManagerNow> {
    match (wanted, present) {
        (None, present) => present.copied(),
        (Some(raft_id), Some(present)) if present.raft_id == raft_id => Some(*present),
        // Not there yet, or only as the manager that it was before it was demoted and promoted again.
        (Some(raft_id), Some(_) | None) => Some(ManagerNow { raft_id, voter: false, reachable: false, lag: 0 }),
    }
}

pub(super) fn cluster(state: &State) -> Result<v1::GetClusterResponse, Status> {
    let cluster = state.cluster().ok_or_else(|| status::rejected(&Rejection::NoCluster))?;
    let managers = state.nodes().filter(|node| match node.spec.role {
        Role::Manager => true,
        Role::Worker => false,
    });
    let running = state.tasks().filter(|task| task.status.state == TaskState::Running);
    let spec = &cluster.spec;
    Ok(v1::GetClusterResponse {
        id: cluster.id.to_string(),
        created_at: cluster.created_at.millis(),
        task_history_limit: spec.task_history_limit,
        heartbeat_ms: millis(spec.heartbeat),
        lease_ms: millis(spec.lease),
        default_memory_limit_bytes: spec.default_memory_limit_bytes,
        default_pids_limit: spec.default_pids_limit,
        managers: count(managers),
        nodes: count(state.nodes()),
        services: count(state.services()),
        tasks_running: count(running),
        term: state.applied().term.0,
        applied_index: state.applied().index,
        version: cluster.version.0,
        spec: Some(spec.into()),
        incarnation: cluster.incarnation,
    })
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_part_follows_its_role() {
        let voter = |raft_id| ManagerNow { raft_id: RaftId(raft_id), voter: true, reachable: true, lag: 0 };
        let waits = ManagerNow { raft_id: RaftId(7), voter: false, reachable: false, lag: 0 };
        assert_eq!(part(None, None), None, "a worker");
        assert_eq!(part(Some(RaftId(7)), None), Some(waits), "promoted");
        assert_eq!(part(Some(RaftId(7)), Some(&voter(7))), Some(voter(7)), "a manager");
        assert_eq!(part(None, Some(&voter(7))), Some(voter(7)), "demoted");
        assert_eq!(part(Some(RaftId(7)), Some(&voter(3))), Some(waits), "demoted and promoted again");
    }
}
