//! Services: the spec both ways, the object towards the wire.

use super::{ConvertError, Result, field};
use crate::{
    endpoint::{EndpointSpec, PortConfig},
    rollout::UpdateConfig,
    service::{Mode, Service, ServiceSpec},
    v1::{self, mode},
};

impl From<&ServiceSpec> for v1::ServiceSpec {
    fn from(domain: &ServiceSpec) -> Self {
        Self {
            name: domain.name.clone(),
            labels: domain.labels.clone(),
            task: Some((&domain.task).into()),
            mode: Some((&domain.mode).into()),
            update: Some((&domain.update).into()),
            rollback: Some((&domain.rollback).into()),
            ports: domain.endpoint.ports.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::ServiceSpec> for ServiceSpec {
    type Error = ConvertError;
    fn try_from(wire: v1::ServiceSpec) -> Result<Self> {
        Ok(Self {
            name: wire.name,
            labels: wire.labels,
            task: field::required("task", wire.task)?,
            mode: field::required("mode", wire.mode)?,
            update: field::required("update", wire.update)?,
            rollback: field::required("rollback", wire.rollback)?,
            endpoint: EndpointSpec { ports: field::list("ports", wire.ports)? },
        })
    }
}

impl From<&Mode> for v1::Mode {
    fn from(domain: &Mode) -> Self {
        let mode = match domain {
            Mode::Replicated { replicas } => mode::Mode::Replicated(mode::Replicated { replicas: *replicas }),
            Mode::Global => mode::Mode::Global(mode::Global {}),
        };
        Self { mode: Some(mode) }
    }
}

impl TryFrom<v1::Mode> for Mode {
    type Error = ConvertError;
    fn try_from(wire: v1::Mode) -> Result<Self> {
        Ok(match field::present("mode", wire.mode)? {
            mode::Mode::Replicated(replicated) => Mode::Replicated { replicas: replicated.replicas },
            mode::Mode::Global(_) => Mode::Global,
        })
    }
}

impl From<&UpdateConfig> for v1::UpdateConfig {
    fn from(domain: &UpdateConfig) -> Self {
        Self {
            parallelism: domain.parallelism,
            delay_ms: field::to_millis(domain.delay),
            failure_action: v1::FailureAction::from(domain.failure_action).into(),
            monitor_ms: field::to_millis(domain.monitor),
            max_failure_ratio: domain.max_failure_ratio,
            order: v1::UpdateOrder::from(domain.order).into(),
            progress_deadline_ms: field::to_millis(domain.progress_deadline),
            canary: domain.canary,
        }
    }
}

impl TryFrom<v1::UpdateConfig> for UpdateConfig {
    type Error = ConvertError;
    fn try_from(wire: v1::UpdateConfig) -> Result<Self> {
        // False for NaN, too.
        if !(0.0..=1.0).contains(&wire.max_failure_ratio) {
            let wrong = format!("is {}, which is not from 0 to 1", wire.max_failure_ratio);
            return Err(ConvertError::new("max_failure_ratio", wrong));
        }
        Ok(Self {
            parallelism: wire.parallelism,
            delay: field::duration("delay_ms", wire.delay_ms)?,
            failure_action: field::choice::<v1::FailureAction, _>("failure_action", wire.failure_action)?,
            monitor: field::duration("monitor_ms", wire.monitor_ms)?,
            max_failure_ratio: wire.max_failure_ratio,
            order: field::choice::<v1::UpdateOrder, _>("order", wire.order)?,
            progress_deadline: field::duration("progress_deadline_ms", wire.progress_deadline_ms)?,
            canary: wire.canary,
        })
    }
}

impl From<&PortConfig> for v1::PortConfig {
    fn from(domain: &PortConfig) -> Self {
        Self {
            protocol: v1::Protocol::from(domain.protocol).into(),
            target: domain.target.into(),
            published: domain.published.into(),
            mode: v1::PublishMode::from(domain.mode).into(),
        }
    }
}

impl TryFrom<v1::PortConfig> for PortConfig {
    type Error = ConvertError;
    fn try_from(wire: v1::PortConfig) -> Result<Self> {
        Ok(Self {
            protocol: field::choice::<v1::Protocol, _>("protocol", wire.protocol)?,
            target: field::port("target", wire.target)?,
            published: field::port("published", wire.published)?,
            mode: field::choice::<v1::PublishMode, _>("mode", wire.mode)?,
        })
    }
}

impl From<&Service> for v1::Service {
    fn from(domain: &Service) -> Self {
        Self {
            id: domain.id.to_string(),
            version: domain.version.0,
            created_at: domain.created_at.millis(),
            updated_at: domain.updated_at.millis(),
            spec: Some((&domain.spec).into()),
            previous_spec: domain.previous.as_ref().map(|previous| (&previous.spec).into()),
            ports: domain.ports.iter().map(Into::into).collect(),
            template_version: domain.template_version.0,
            rollout: domain.rollout.as_ref().map(|rollout| rollout.as_ref().into()),
        }
    }
}
