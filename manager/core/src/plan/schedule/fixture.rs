//! Small clusters for the tests of this folder.

use std::{collections::BTreeMap, sync::Arc};

use muster_proto::{
    container::ContainerSpec,
    endpoint::{EndpointSpec, PortConfig, Protocol, PublishMode},
    id::{NodeId, ServiceId, TaskId},
    isolation::OnIsolation,
    node::{EngineHealth, Node, NodeDescription, NodeSpec, NodeState},
    placement::Placement,
    resources::{ResourceRequirements, Resources},
    restart::{RestartPolicy, RestartRecord},
    rollout::UpdateConfig,
    service::{Mode, Service, ServiceSpec},
    task::{Slot, Task, TaskSpec, TaskStatus, Template},
    task_state::{DesiredState, TaskState},
    time::Timestamp,
    version::{Fence, TemplateVersion, Version},
};

use super::{filter::Offer, seats::NodeUse};
use crate::{command::LOG_FORMAT, liveness::Liveness, state::State};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

pub(crate) fn template() -> Template {
    let spec = TaskSpec {
        container: ContainerSpec::new("sim:1"),
        resources: ResourceRequirements::default(),
        restart: RestartPolicy::default(),
        placement: Placement::default(),
        force_update: 0,
        on_isolation: OnIsolation::default(),
    };
    Template { spec, host_ports: Vec::new() }
}

pub(crate) fn host_port(published: u16) -> PortConfig {
    PortConfig { protocol: Protocol::Tcp, target: 80, published, mode: PublishMode::Host }
}

/// Alive, with 4 cores and 4 GiB.
pub(crate) fn node(number: u128) -> Node {
    Node {
        id: NodeId::from_bits(number),
        version: Version(1),
        created_at: NOW,
        updated_at: NOW,
        spec: NodeSpec::default(),
        description: Some(NodeDescription {
            hostname: format!("node-{number}"),
            os: "linux".into(),
            arch: "x86_64".into(),
            resources: Resources { nano_cpus: 4_000_000_000, memory_bytes: 4 << 30 },
            engine: "sim".into(),
            engine_version: "1".into(),
            engine_labels: BTreeMap::new(),
            engine_health: EngineHealth::Ok,
            problems: Vec::new(),
            muster_version: "0.1.0".into(),
        }),
        address: format!("10.0.0.{number}:7377"),
        raft_id: None,
        certificate: None,
        certified_until: None,
        log_format: LOG_FORMAT,
    }
}

/// Named `service-<number>`, with [`template`].
pub(crate) fn service(number: u128) -> Service {
    let template = template();
    Service {
        id: ServiceId::from_bits(number),
        version: Version(1),
        created_at: NOW,
        updated_at: NOW,
        spec: ServiceSpec {
            name: format!("service-{number}"),
            labels: BTreeMap::new(),
            task: template.spec.clone(),
            mode: Mode::Replicated { replicas: 1 },
            update: UpdateConfig::default(),
            rollback: UpdateConfig::default(),
            endpoint: EndpointSpec::default(),
        },
        template: Arc::new(template),
        template_version: TemplateVersion(1),
        previous: None,
        ports: Vec::new(),
        rollout: None,
    }
}

/// Runs on `node`.
pub(crate) fn task(number: u128, service: &Service, slot: u32, node: &Node) -> Task {
    Task {
        id: TaskId::from_bits(number),
        version: Version(1),
        created_at: NOW,
        service_id: service.id,
        service_name: service.spec.name.clone(),
        slot: Slot::Number(slot),
        template_version: service.template_version,
        template: Arc::clone(&service.template),
        node_id: Some(node.id),
        fence: Fence(1),
        desired: DesiredState::Running,
        status: TaskStatus::new(TaskState::Running, NOW, "runs"),
        start_after: None,
        restarts: RestartRecord::default(),
        waiting: None,
        moves_to: None,
    }
}

pub(super) fn offer<'a>(node: &'a Node, in_use: &'a NodeUse, replicas: u32) -> Offer<'a> {
    Offer { node, state: NodeState::Ready, in_use, replicas }
}

/// Every node is alive.
pub(crate) fn cluster(
    nodes: impl IntoIterator<Item = Node>,
    tasks: impl IntoIterator<Item = Task>,
) -> (State, Liveness) {
    let (mut state, mut liveness) = (State::default(), Liveness::default());
    for node in nodes {
        liveness.ready(node.id);
        state.nodes.insert(node.id, node);
    }
    for task in tasks {
        state.tasks_by_service.entry(task.service_id).or_default().insert((task.slot, task.id));
        if let Some(node) = task.node_id {
            state.tasks_by_node.entry(node).or_default().insert(task.id);
        }
        state.tasks.insert(task.id, task.into());
    }
    (state, liveness)
}

/// The leases say so of the node.
pub(crate) fn see(liveness: &mut Liveness, node: NodeId, state: NodeState) {
    match state {
        NodeState::Ready => liveness.ready(node),
        NodeState::Down => liveness.down(node, NOW),
        NodeState::Unknown => liveness.forget(node),
    }
}
