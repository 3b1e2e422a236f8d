//! Service specs from `key=value` words.

use std::{collections::BTreeMap, time::Duration};

use muster_proto::{
    container::ContainerSpec,
    endpoint::{EndpointSpec, PortConfig, Protocol, PublishMode},
    isolation::OnIsolation,
    mount::{Mount, MountSource},
    placement::{Comparison, Constraint, NodeField, Placement, SpreadOver},
    resources::{NANO_CPUS_PER_CORE, ResourceRequirements},
    restart::{RestartCondition, RestartPolicy},
    rollout::{FailureAction, UpdateConfig, UpdateOrder},
    service::{Mode, ServiceSpec},
    task::TaskSpec,
};

pub(crate) fn base(name: &str) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        task: TaskSpec {
            container: ContainerSpec::new("v1"),
            resources: ResourceRequirements::default(),
            restart: RestartPolicy::default(),
            placement: Placement::default(),
            force_update: 0,
            on_isolation: OnIsolation::default(),
        },
        mode: Mode::Replicated { replicas: 1 },
        update: UpdateConfig::default(),
        rollback: UpdateConfig::default(),
        endpoint: EndpointSpec::default(),
    }
}

pub(crate) fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("a duration: {text}"));
    match unit {
        "ms" => Duration::from_millis(number),
        "s" | "" => Duration::from_secs(number),
        "m" => Duration::from_secs(60 * number),
        other => panic!("a unit of time: {other}"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("a number: {text}"))
}

fn port(text: &str, mode: PublishMode) -> PortConfig {
    let (published, target) = text.split_once(':').unwrap_or((text, "80"));
    PortConfig { protocol: Protocol::Tcp, target: number(target), published: number(published), mode }
}

/// Changes one part of the spec.
pub(crate) fn set(spec: &mut ServiceSpec, word: &str) {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    match key {
        "image" => spec.task.container.image = value.to_owned(),
        "replicas" => spec.mode = Mode::Replicated { replicas: number(value) },
        "global" => spec.mode = Mode::Global,
        "force" => spec.task.force_update += 1,
        "isolation" => {
            spec.task.on_isolation = match value {
                "keep" => OnIsolation::Keep,
                "stop" => OnIsolation::Stop,
                other => panic!("an answer to isolation: {other}"),
            }
        }
        "label" => {
            spec.labels.insert(value.to_owned(), String::new());
        }
        "port" => spec.endpoint.ports.push(port(value, PublishMode::Ingress)),
        "host-port" => spec.endpoint.ports.push(port(value, PublishMode::Host)),
        "volume" => spec.task.container.mounts.push(Mount {
            source: MountSource::Volume { name: value.to_owned() },
            target: "/srv".to_owned(),
            read_only: false,
        }),
        "reserve-cpu" => spec.task.resources.reservations.nano_cpus = number::<u64>(value) * NANO_CPUS_PER_CORE,
        "constraint" => {
            let (label, value) = value.split_once(':').unwrap_or((value, ""));
            spec.task.placement.constraints.push(Constraint {
                field: NodeField::Label(label.to_owned()),
                comparison: Comparison::Equal,
                value: value.to_owned(),
            });
        }
        "spread" => spec.task.placement.preferences.push(SpreadOver(NodeField::Label(value.to_owned()))),
        "max-per-node" => spec.task.placement.max_replicas_per_node = Some(number(value)),
        "restart" => {
            spec.task.restart.condition = match value {
                "none" => RestartCondition::None,
                "on-failure" => RestartCondition::OnFailure,
                "any" => RestartCondition::Any,
                other => panic!("a restart condition: {other}"),
            }
        }
        "restart-delay" => spec.task.restart.delay = Some(duration(value)),
        "attempts" => spec.task.restart.max_attempts = Some(number(value)),
        "window" => spec.task.restart.window = duration(value),
        _ => match key.strip_prefix("rollback-") {
            Some(key) => set_update(&mut spec.rollback, key, value),
            None => set_update(&mut spec.update, key, value),
        },
    }
}

fn set_update(config: &mut UpdateConfig, key: &str, value: &str) {
    match key {
        "canary" => config.canary = number(value),
        "parallelism" => config.parallelism = number(value),
        "delay" => config.delay = duration(value),
        "monitor" => config.monitor = duration(value),
        "ratio" => config.max_failure_ratio = number(value),
        "deadline" => config.progress_deadline = duration(value),
        "order" => {
            config.order = match value {
                "auto" => UpdateOrder::Auto,
                "start-first" => UpdateOrder::StartFirst,
                "stop-first" => UpdateOrder::StopFirst,
                other => panic!("an order: {other}"),
            }
        }
        "action" => {
            config.failure_action = match value {
                "pause" => FailureAction::Pause,
                "continue" => FailureAction::Continue,
                "rollback" => FailureAction::Rollback,
                other => panic!("a failure action: {other}"),
            }
        }
        other => panic!("a part of a spec: {other}"),
    }
}
