//! What the engine says of a container or an image, in the words of the executor. Pure.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use bollard::models::{ContainerState as EngineState, ContainerStateStatusEnum, EndpointSettings, HealthConfig};
use muster_proto::health::{HealthCheck, Probe};

use crate::executor::{ContainerState, Exit};

pub(super) fn address(networks: Option<HashMap<String, EndpointSettings>>) -> Option<IpAddr> {
    let mut networks: Vec<_> = networks.unwrap_or_default().into_iter().collect();
    networks.sort_by(|a, b| a.0.cmp(&b.0));
    networks.into_iter().find_map(|(_, endpoint)| endpoint.ip_address?.parse().ok())
}

pub(super) fn state(state: EngineState, address: Option<IpAddr>) -> ContainerState {
    let running = state.running.unwrap_or(false);
    let created = matches!(state.status, Some(ContainerStateStatusEnum::CREATED));
    if running {
        ContainerState::Running { address }
    } else if created {
        ContainerState::Created
    } else {
        ContainerState::Exited(exit(state))
    }
}

fn exit(state: EngineState) -> Exit {
    Exit {
        code: state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1),
        oom_killed: state.oom_killed.unwrap_or(false),
        error: state.error.filter(|text| !text.is_empty()),
    }
}

/// A HEALTHCHECK of the image. What it leaves open takes our defaults: Docker's have people wait half a minute.
pub(super) fn health(config: HealthConfig) -> Option<HealthCheck> {
    let test = config.test?;
    let (kind, argv) = test.split_first()?;
    let shell = match kind.as_str() {
        "CMD-SHELL" => true,
        "CMD" => false,
        // NONE, and what later engines may bring.
        _ => return None,
    };
    if argv.is_empty() {
        return None;
    }
    let span = |nanos: Option<i64>, default: Duration| {
        nanos.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0).map_or(default, Duration::from_nanos)
    };
    Some(HealthCheck {
        probe: Probe::Command { argv: argv.to_vec(), shell },
        interval: span(config.interval, HealthCheck::INTERVAL),
        timeout: span(config.timeout, HealthCheck::TIMEOUT),
        retries: config.retries.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(HealthCheck::RETRIES),
        start_period: span(config.start_period, HealthCheck::START_PERIOD),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(test: &[&str]) -> HealthConfig {
        HealthConfig {
            test: Some(test.iter().map(|&t| t.to_owned()).collect()),
            interval: Some(2_000_000_000),
            ..HealthConfig::default()
        }
    }

    #[test]
    fn an_images_health_check_is_read_and_none_is_none() {
        let check = health(config(&["CMD-SHELL", "curl localhost"])).expect("a check");
        assert_eq!(check.probe, Probe::Command { argv: vec!["curl localhost".to_owned()], shell: true });
        assert_eq!((check.interval, check.timeout), (Duration::from_secs(2), HealthCheck::TIMEOUT));
        assert_eq!(health(config(&["NONE"])), None);
        assert_eq!(health(config(&[])), None);
        assert_eq!(health(config(&["CMD"])), None);
    }

    #[test]
    fn a_container_that_never_ran_is_created_and_a_dead_one_exited() {
        let engine = |status| EngineState { status: Some(status), exit_code: Some(3), ..EngineState::default() };
        assert_eq!(state(engine(ContainerStateStatusEnum::CREATED), None), ContainerState::Created);
        let ended = Exit { code: 3, oom_killed: false, error: None };
        assert_eq!(state(engine(ContainerStateStatusEnum::EXITED), None), ContainerState::Exited(ended.clone()));
        assert_eq!(state(engine(ContainerStateStatusEnum::DEAD), None), ContainerState::Exited(ended));
    }
}
