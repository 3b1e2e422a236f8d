//! Assignments for unit tests.

use std::{collections::BTreeMap, sync::Arc};

use muster_proto::{
    assignment::Assignment,
    container::ContainerSpec,
    id::{ServiceId, TaskId},
    isolation::OnIsolation,
    placement::Placement,
    resources::{Limits, ResourceRequirements},
    restart::RestartPolicy,
    task::{Slot, TaskSpec, Template},
    task_state::DesiredState,
    version::Fence,
};

pub(crate) fn assignment(number: u128) -> Arc<Assignment> {
    let spec = TaskSpec {
        container: ContainerSpec { labels: BTreeMap::new(), ..ContainerSpec::new("web:1") },
        resources: ResourceRequirements::default(),
        restart: RestartPolicy::default(),
        placement: Placement::default(),
        force_update: 0,
        on_isolation: OnIsolation::default(),
    };
    Arc::new(Assignment {
        task_id: TaskId::from_bits(number),
        service_id: ServiceId::from_bits(1),
        service_name: "web".to_owned(),
        slot: Slot::Number(1),
        fence: Fence(7),
        desired: DesiredState::Running,
        template: Arc::new(Template { spec, host_ports: Vec::new() }),
        limits: Limits { memory_bytes: 64 << 20, ..Limits::default() },
    })
}
