//! What travels between managers and agents.

use std::sync::Arc;

use super::{ConvertError, Result, field};
use crate::{
    assignment::{Assignment, Backend, IngressService, TaskReport},
    task::Template,
    v1,
    version::Fence,
};

impl From<&Assignment> for v1::Assignment {
    fn from(domain: &Assignment) -> Self {
        Self {
            task_id: domain.task_id.to_string(),
            service_id: domain.service_id.to_string(),
            service_name: domain.service_name.clone(),
            slot: Some((&domain.slot).into()),
            fence: domain.fence.0,
            desired: v1::DesiredState::from(domain.desired).into(),
            spec: Some((&domain.template.spec).into()),
            host_ports: domain.template.host_ports.iter().map(Into::into).collect(),
            limits: Some((&domain.limits).into()),
        }
    }
}

impl TryFrom<v1::Assignment> for Assignment {
    type Error = ConvertError;
    fn try_from(wire: v1::Assignment) -> Result<Self> {
        let template = Template {
            spec: field::required("spec", wire.spec)?,
            host_ports: field::list("host_ports", wire.host_ports)?,
        };
        Ok(Self {
            task_id: field::id("task_id", &wire.task_id)?,
            service_id: field::id("service_id", &wire.service_id)?,
            service_name: wire.service_name,
            slot: field::required("slot", wire.slot)?,
            fence: Fence(wire.fence),
            desired: field::choice::<v1::DesiredState, _>("desired", wire.desired)?,
            template: Arc::new(template),
            limits: field::required("limits", wire.limits)?,
        })
    }
}

impl From<&Backend> for v1::Backend {
    fn from(domain: &Backend) -> Self {
        Self {
            task_id: domain.task_id.to_string(),
            node_id: domain.node_id.to_string(),
            address: domain.address.to_string(),
            node_address: domain.node_address.clone(),
        }
    }
}

impl TryFrom<v1::Backend> for Backend {
    type Error = ConvertError;
    fn try_from(wire: v1::Backend) -> Result<Self> {
        Ok(Self {
            task_id: field::id("task_id", &wire.task_id)?,
            node_id: field::id("node_id", &wire.node_id)?,
            address: field::text("address", &wire.address, "an IP address")?,
            node_address: wire.node_address,
        })
    }
}

impl From<&IngressService> for v1::IngressService {
    fn from(domain: &IngressService) -> Self {
        Self {
            service_id: domain.service_id.to_string(),
            ports: domain.ports.iter().map(Into::into).collect(),
            backends: domain.backends.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::IngressService> for IngressService {
    type Error = ConvertError;
    fn try_from(wire: v1::IngressService) -> Result<Self> {
        Ok(Self {
            service_id: field::id("service_id", &wire.service_id)?,
            ports: field::list("ports", wire.ports)?,
            backends: field::list("backends", wire.backends)?,
        })
    }
}

impl From<&TaskReport> for v1::TaskReport {
    fn from(domain: &TaskReport) -> Self {
        Self { task_id: domain.task_id.to_string(), fence: domain.fence.0, status: Some((&domain.status).into()) }
    }
}

impl TryFrom<v1::TaskReport> for TaskReport {
    type Error = ConvertError;
    fn try_from(wire: v1::TaskReport) -> Result<Self> {
        Ok(Self {
            task_id: field::id("task_id", &wire.task_id)?,
            fence: Fence(wire.fence),
            status: field::required("status", wire.status)?,
        })
    }
}
