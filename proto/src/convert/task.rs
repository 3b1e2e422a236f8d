//! Tasks: spec, slot and status both ways, the object towards the wire.

use super::{ConvertError, Result, field};
use crate::{
    resources::ResourceRequirements,
    restart::RestartPolicy,
    task::{Evidence, Slot, Task, TaskSpec, TaskStatus},
    v1::{self, slot},
};

impl From<&TaskSpec> for v1::TaskSpec {
    fn from(domain: &TaskSpec) -> Self {
        Self {
            container: Some((&domain.container).into()),
            limits: Some((&domain.resources.limits).into()),
            reservations: Some((&domain.resources.reservations).into()),
            restart: Some((&domain.restart).into()),
            placement: Some((&domain.placement).into()),
            force_update: domain.force_update,
            on_isolation: v1::OnIsolation::from(domain.on_isolation).into(),
        }
    }
}

impl TryFrom<v1::TaskSpec> for TaskSpec {
    type Error = ConvertError;
    fn try_from(wire: v1::TaskSpec) -> Result<Self> {
        Ok(Self {
            container: field::required("container", wire.container)?,
            resources: ResourceRequirements {
                limits: field::required("limits", wire.limits)?,
                reservations: field::required("reservations", wire.reservations)?,
            },
            restart: field::required("restart", wire.restart)?,
            placement: field::required("placement", wire.placement)?,
            force_update: wire.force_update,
            on_isolation: field::choice::<v1::OnIsolation, _>("on_isolation", wire.on_isolation)?,
        })
    }
}

impl From<&RestartPolicy> for v1::RestartPolicy {
    fn from(domain: &RestartPolicy) -> Self {
        Self {
            condition: v1::RestartCondition::from(domain.condition).into(),
            delay_ms: domain.delay.map(field::to_millis),
            max_attempts: domain.max_attempts,
            window_ms: field::to_millis(domain.window),
        }
    }
}

impl TryFrom<v1::RestartPolicy> for RestartPolicy {
    type Error = ConvertError;
    fn try_from(wire: v1::RestartPolicy) -> Result<Self> {
        Ok(Self {
            condition: field::choice::<v1::RestartCondition, _>("condition", wire.condition)?,
            delay: wire.delay_ms.map(|millis| field::duration("delay_ms", millis)).transpose()?,
            max_attempts: wire.max_attempts,
            window: field::duration("window_ms", wire.window_ms)?,
        })
    }
}

impl From<&Slot> for v1::Slot {
    fn from(domain: &Slot) -> Self {
        let slot = match domain {
            Slot::Number(number) => slot::Slot::Number(*number),
            Slot::Node(node) => slot::Slot::NodeId(node.to_string()),
        };
        Self { slot: Some(slot) }
    }
}

impl TryFrom<v1::Slot> for Slot {
    type Error = ConvertError;
    fn try_from(wire: v1::Slot) -> Result<Self> {
        Ok(match field::present("slot", wire.slot)? {
            slot::Slot::Number(number) => Slot::Number(number),
            slot::Slot::NodeId(node) => Slot::Node(field::id("node_id", &node)?),
        })
    }
}

impl From<&Evidence> for v1::Evidence {
    fn from(domain: &Evidence) -> Self {
        Self { log_tail: domain.log_tail.clone(), health: domain.health.clone(), oom_killed: domain.oom_killed }
    }
}

impl From<v1::Evidence> for Evidence {
    fn from(wire: v1::Evidence) -> Self {
        Self { log_tail: wire.log_tail, health: wire.health, oom_killed: wire.oom_killed }
    }
}

impl From<&TaskStatus> for v1::TaskStatus {
    fn from(domain: &TaskStatus) -> Self {
        Self {
            state: v1::TaskState::from(domain.state).into(),
            at: domain.at.millis(),
            running_at: domain.running_at.map(|at| at.millis()),
            message: domain.message.clone(),
            error: domain.error.clone(),
            exit_code: domain.exit_code,
            container_id: domain.container_id.clone(),
            address: domain.address.map(|address| address.to_string()),
            evidence: domain.evidence.as_deref().map(Into::into),
            removed: domain.removed,
        }
    }
}

impl TryFrom<v1::TaskStatus> for TaskStatus {
    type Error = ConvertError;
    fn try_from(wire: v1::TaskStatus) -> Result<Self> {
        let address = wire.address.map(|address| field::text("address", &address, "an IP address")).transpose()?;
        Ok(Self {
            state: field::choice::<v1::TaskState, _>("state", wire.state)?,
            at: field::timestamp("at", wire.at)?,
            running_at: wire.running_at.map(|at| field::timestamp("running_at", at)).transpose()?,
            message: wire.message,
            error: wire.error,
            exit_code: wire.exit_code,
            container_id: wire.container_id,
            address,
            evidence: wire.evidence.map(|evidence| Box::new(evidence.into())),
            removed: wire.removed,
        })
    }
}

impl From<&Task> for v1::Task {
    fn from(domain: &Task) -> Self {
        Self {
            id: domain.id.to_string(),
            version: domain.version.0,
            created_at: domain.created_at.millis(),
            service_id: domain.service_id.to_string(),
            service_name: domain.service_name.clone(),
            slot: Some((&domain.slot).into()),
            template_version: domain.template_version.0,
            spec: Some((&domain.template.spec).into()),
            host_ports: domain.template.host_ports.iter().map(Into::into).collect(),
            node_id: domain.node_id.map(|id| id.to_string()),
            fence: domain.fence.0,
            desired: v1::DesiredState::from(domain.desired).into(),
            status: Some((&domain.status).into()),
            start_after: domain.start_after.map(|at| at.millis()),
            waiting: domain.waiting.as_ref().map(ToString::to_string),
            failures: domain.restarts.failures,
            moves_to: domain.moves_to.map(|id| id.to_string()),
        }
    }
}
