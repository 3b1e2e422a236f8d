//! What runs inside a task's container, and how its health is known.

use super::{ConvertError, Result, field};
use crate::{
    container::{ContainerSpec, Ulimit},
    health::{HealthCheck, HealthPolicy, Probe},
    pin::ImagePin,
    v1::{self, health_check, health_policy, image_pin},
};

impl From<&ContainerSpec> for v1::ContainerSpec {
    fn from(domain: &ContainerSpec) -> Self {
        Self {
            image: domain.image.clone(),
            pin: domain.pin.as_ref().map(Into::into),
            labels: domain.labels.clone(),
            entrypoint: domain.entrypoint.clone(),
            args: domain.args.clone(),
            env: domain.env.clone(),
            workdir: domain.workdir.clone(),
            user: domain.user.clone(),
            hostname: domain.hostname.clone(),
            mounts: domain.mounts.iter().map(Into::into).collect(),
            read_only: domain.read_only,
            init: domain.init,
            cap_add: domain.cap_add.clone(),
            cap_drop: domain.cap_drop.clone(),
            ulimits: domain.ulimits.iter().map(Into::into).collect(),
            stop_signal: domain.stop_signal.clone(),
            stop_grace_period_ms: field::to_millis(domain.stop_grace_period),
            health: Some((&domain.health).into()),
        }
    }
}

impl TryFrom<v1::ContainerSpec> for ContainerSpec {
    type Error = ConvertError;
    fn try_from(wire: v1::ContainerSpec) -> Result<Self> {
        Ok(Self {
            image: wire.image,
            pin: field::optional("pin", wire.pin)?,
            labels: wire.labels,
            entrypoint: wire.entrypoint,
            args: wire.args,
            env: wire.env,
            workdir: wire.workdir,
            user: wire.user,
            hostname: wire.hostname,
            mounts: field::list("mounts", wire.mounts)?,
            read_only: wire.read_only,
            init: wire.init,
            cap_add: wire.cap_add,
            cap_drop: wire.cap_drop,
            ulimits: wire.ulimits.into_iter().map(Ulimit::from).collect(),
            stop_signal: wire.stop_signal,
            stop_grace_period: field::duration("stop_grace_period_ms", wire.stop_grace_period_ms)?,
            health: field::required("health", wire.health)?,
        })
    }
}

impl From<&ImagePin> for v1::ImagePin {
    fn from(domain: &ImagePin) -> Self {
        let pin = match domain {
            ImagePin::Digest(digest) => image_pin::Pin::Digest(digest.clone()),
            ImagePin::LocalId(id) => image_pin::Pin::LocalId(id.clone()),
        };
        Self { pin: Some(pin) }
    }
}

impl TryFrom<v1::ImagePin> for ImagePin {
    type Error = ConvertError;
    fn try_from(wire: v1::ImagePin) -> Result<Self> {
        Ok(match field::present("pin", wire.pin)? {
            image_pin::Pin::Digest(digest) => ImagePin::Digest(digest),
            image_pin::Pin::LocalId(id) => ImagePin::LocalId(id),
        })
    }
}

impl From<&HealthPolicy> for v1::HealthPolicy {
    fn from(domain: &HealthPolicy) -> Self {
        let policy = match domain {
            HealthPolicy::FromImage => health_policy::Policy::FromImage(health_policy::FromImage {}),
            HealthPolicy::Disabled => health_policy::Policy::Disabled(health_policy::Disabled {}),
            HealthPolicy::Check(check) => health_policy::Policy::Check(check.into()),
        };
        Self { policy: Some(policy) }
    }
}

impl TryFrom<v1::HealthPolicy> for HealthPolicy {
    type Error = ConvertError;
    fn try_from(wire: v1::HealthPolicy) -> Result<Self> {
        Ok(match field::present("policy", wire.policy)? {
            health_policy::Policy::FromImage(_) => HealthPolicy::FromImage,
            health_policy::Policy::Disabled(_) => HealthPolicy::Disabled,
            health_policy::Policy::Check(check) => HealthPolicy::Check(field::required("check", Some(check))?),
        })
    }
}

impl From<&HealthCheck> for v1::HealthCheck {
    fn from(domain: &HealthCheck) -> Self {
        let probe = match &domain.probe {
            Probe::Command { argv, shell } => {
                health_check::Probe::Command(health_check::Command { argv: argv.clone(), shell: *shell })
            }
            Probe::Http { port, path } => {
                health_check::Probe::Http(health_check::Http { port: (*port).into(), path: path.clone() })
            }
            Probe::Tcp { port } => health_check::Probe::Tcp(health_check::Tcp { port: (*port).into() }),
        };
        Self {
            probe: Some(probe),
            interval_ms: field::to_millis(domain.interval),
            timeout_ms: field::to_millis(domain.timeout),
            retries: domain.retries,
            start_period_ms: field::to_millis(domain.start_period),
        }
    }
}

impl TryFrom<v1::HealthCheck> for HealthCheck {
    type Error = ConvertError;
    fn try_from(wire: v1::HealthCheck) -> Result<Self> {
        let probe = match field::present("probe", wire.probe)? {
            health_check::Probe::Command(command) => Probe::Command { argv: command.argv, shell: command.shell },
            health_check::Probe::Http(http) => {
                Probe::Http { port: field::port("probe.http.port", http.port)?, path: http.path }
            }
            health_check::Probe::Tcp(tcp) => Probe::Tcp { port: field::port("probe.tcp.port", tcp.port)? },
        };
        Ok(Self {
            probe,
            interval: field::duration("interval_ms", wire.interval_ms)?,
            timeout: field::duration("timeout_ms", wire.timeout_ms)?,
            retries: wire.retries,
            start_period: field::duration("start_period_ms", wire.start_period_ms)?,
        })
    }
}
