//! What each node should know, derived from the state: its own tasks, and every service's ingress.
//!
//! Called by the dispatcher. [`crate::apply`] asks it which rows a node sees differently, so that what is touched and
//! what is sent cannot part ways.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use muster_proto::{
    assignment::{Assignment, Backend, IngressService},
    cluster::ClusterSpec,
    endpoint::PublishMode,
    id::{NodeId, TaskId},
    node::{NodeOrders, Role},
    resources::{Limits, ResourceRequirements},
    service::Service,
    task::Task,
    task_state::{DesiredState, TaskState},
    version::Fence,
};

use crate::state::State;

/// Every task that `node` must hold, run or clean up: all rows that have this node and whose removal it has not
/// confirmed.
#[must_use]
pub fn assignments(state: &State, node: NodeId) -> BTreeMap<TaskId, Assignment> {
    let cluster = state.cluster().map(|cluster| cluster.spec.clone()).unwrap_or_default();
    let held = state.tasks_of_node(node).filter(|task| standing(task).is_some());
    held.map(|task| (task.id, assignment(&cluster, task))).collect()
}

/// Every service with ingress ports and its ready tasks, in order of service id. Those on nodes that are `down` would cost
/// each client a moment, and are left out; where there are no others they stay: what the managers do not reach, the node
/// that asks perhaps does.
#[must_use]
pub fn ingress(state: &State, down: &BTreeSet<NodeId>) -> Vec<IngressService> {
    let services = state.services().filter(|service| has_ingress(service));
    services.map(|service| reachable(ingress_of(state, service), down)).collect()
}

fn reachable(mut service: IngressService, down: &BTreeSet<NodeId>) -> IngressService {
    if service.backends.iter().any(|backend| !down.contains(&backend.node_id)) {
        service.backends.retain(|backend| !down.contains(&backend.node_id));
    }
    service
}

pub(crate) fn has_ingress(service: &Service) -> bool {
    service.ports.iter().any(|port| port.mode == PublishMode::Ingress)
}

/// The part of a row that its node is told and that can change.
pub(crate) fn standing(task: &Task) -> Option<(NodeId, Fence, DesiredState)> {
    task.node_id.filter(|_| !task.status.removed).map(|node| (node, task.fence, task.desired))
}

/// Where a task serves that is ready for traffic and not about to leave: one that shall stop is out of rotation from
/// that moment.
pub(crate) fn serving(task: &Task) -> Option<(NodeId, IpAddr)> {
    let serves = task.status.state == TaskState::Running && task.desired == DesiredState::Running;
    task.node_id.zip(task.status.address).filter(|_| serves)
}

/// What `node` should be; None when it is no member.
#[must_use]
pub fn orders(state: &State, node: NodeId) -> Option<NodeOrders> {
    let row = state.node(node)?;
    let role = row.spec.role;
    let roots = state.authority().into_iter().flat_map(|authority| authority.roots());
    let roots: Vec<String> = roots.map(|root| root.digest.to_string()).collect();
    let rotation = state.authority().filter(|authority| authority.previous.is_some());
    let show_certificate = rotation.is_some_and(|authority| !row.has_shown(authority.root.digest));
    let removed = state.removed().collect();
    let managers = manager_addresses(state);
    Some(NodeOrders { role, roots_digest: roots.join(","), managers, show_certificate, removed })
}

/// Where the managers are, as nodes are told.
#[must_use]
pub fn manager_addresses(state: &State) -> Vec<String> {
    let managers = state.nodes().filter(|node| node.spec.role == Role::Manager);
    managers.map(|node| node.address.clone()).collect()
}

fn ingress_of(state: &State, service: &Service) -> IngressService {
    let backend = |task: &Task| {
        let (node_id, address) = serving(task)?;
        let node_address = state.node(node_id)?.address.clone();
        Some(Backend { task_id: task.id, node_id, address, node_address })
    };
    let mut backends: Vec<Backend> = state.tasks_of_service(service.id).filter_map(backend).collect();
    backends.sort_by_key(|backend| backend.task_id);
    let ports = service.ports.iter().filter(|port| port.mode == PublishMode::Ingress).cloned().collect();
    IngressService { service_id: service.id, ports, backends }
}

fn assignment(cluster: &ClusterSpec, task: &Task) -> Assignment {
    Assignment {
        task_id: task.id,
        service_id: task.service_id,
        service_name: task.service_name.clone(),
        slot: task.slot,
        fence: task.fence,
        desired: task.desired,
        template: Arc::clone(&task.template),
        limits: limits(cluster, &task.template.spec.resources),
    }
}

/// What was asked for wins. A default never undercuts a reservation: a task may always use what is set aside for it.
fn limits(cluster: &ClusterSpec, asked: &ResourceRequirements) -> Limits {
    let memory_default = match cluster.default_memory_limit_bytes {
        0 => 0,
        bytes => bytes.max(asked.reservations.memory_bytes),
    };
    let or = |asked: u64, default: u64| if asked == 0 { default } else { asked };
    Limits {
        nano_cpus: asked.limits.nano_cpus,
        memory_bytes: or(asked.limits.memory_bytes, memory_default),
        pids: or(asked.limits.pids, cluster.default_pids_limit),
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::{id::ServiceId, resources::Resources};

    use super::*;

    fn asked(memory_bytes: u64, pids: u64, reserved: u64) -> ResourceRequirements {
        ResourceRequirements {
            limits: Limits { nano_cpus: 0, memory_bytes, pids },
            reservations: Resources { nano_cpus: 0, memory_bytes: reserved },
        }
    }

    #[test]
    fn defaults_fill_in_what_was_not_asked_for() {
        let cluster = ClusterSpec { default_memory_limit_bytes: 100, default_pids_limit: 7, ..ClusterSpec::default() };
        assert_eq!(limits(&cluster, &asked(0, 0, 0)), Limits { nano_cpus: 0, memory_bytes: 100, pids: 7 });
        assert_eq!(limits(&cluster, &asked(50, 9, 0)), Limits { nano_cpus: 0, memory_bytes: 50, pids: 9 });
        assert_eq!(limits(&cluster, &asked(0, 0, 500)).memory_bytes, 500, "no default undercuts a reservation");
    }

    #[test]
    fn tasks_on_nodes_that_are_down_are_listed_only_where_there_are_no_others() {
        let down: BTreeSet<NodeId> = [2, 3].map(NodeId::from_bits).into();
        let left = |nodes: &[u128]| -> Vec<NodeId> {
            let backend = |node: &u128| Backend {
                task_id: TaskId::from_bits(*node),
                node_id: NodeId::from_bits(*node),
                address: [10, 0, 0, 1].into(),
                node_address: "10.0.0.9:7377".into(),
            };
            let backends = nodes.iter().map(backend).collect();
            let service = IngressService { service_id: ServiceId::from_bits(1), ports: Vec::new(), backends };
            reachable(service, &down).backends.iter().map(|backend| backend.node_id).collect()
        };
        assert_eq!(left(&[1, 2, 3, 4]), [1, 4].map(NodeId::from_bits));
        assert_eq!(left(&[2, 3]), [2, 3].map(NodeId::from_bits));
        assert_eq!(left(&[]), []);
    }

    #[test]
    fn a_cluster_without_defaults_limits_nothing() {
        let cluster = ClusterSpec { default_memory_limit_bytes: 0, default_pids_limit: 0, ..ClusterSpec::default() };
        assert_eq!(limits(&cluster, &asked(0, 0, 500)), Limits::default());
    }
}
