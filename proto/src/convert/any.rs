//! Any value the domain can hold and the wire can carry.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    assignment::{Assignment, Backend, IngressService, TaskReport},
    container::{ContainerSpec, Ulimit},
    endpoint::{EndpointSpec, PortConfig, Protocol, PublishMode},
    health::{HealthCheck, HealthPolicy, Probe},
    id::{NodeId, ServiceId, TaskId},
    isolation::OnIsolation,
    mount::{Mount, MountSource},
    node::{EngineHealth, NodeDescription, NodeOrders, Role},
    pin::ImagePin,
    placement::{Comparison, Constraint, NodeField, Placement, SpreadOver},
    resources::{Limits, MEMORY_BYTES_MAX, NANO_CPUS_MAX, ResourceRequirements, Resources},
    restart::{RestartCondition, RestartPolicy},
    rollout::{FailureAction, UpdateConfig, UpdateOrder},
    service::{Mode, ServiceSpec},
    task::{Evidence, Slot, TaskSpec, TaskStatus, Template},
    task_state::{DesiredState, TaskState},
    time::{DURATION_MAX, Timestamp},
    version::Fence,
};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,8}", any::<String>()]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..4)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(text(), text(), 0..4)
}

fn duration() -> impl Strategy<Value = Duration> {
    let max = u64::try_from(DURATION_MAX.as_millis()).expect("fits");
    prop_oneof![Just(0), Just(max), 0..=max].prop_map(Duration::from_millis)
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.millis()).prop_map(Timestamp::from_millis)
}

fn node_id() -> impl Strategy<Value = NodeId> {
    any::<u128>().prop_map(NodeId::from_bits)
}

fn task_id() -> impl Strategy<Value = TaskId> {
    any::<u128>().prop_map(TaskId::from_bits)
}

fn service_id() -> impl Strategy<Value = ServiceId> {
    any::<u128>().prop_map(ServiceId::from_bits)
}

fn mount() -> impl Strategy<Value = Mount> {
    let source = prop_oneof![
        text().prop_map(|name| MountSource::Volume { name }),
        text().prop_map(|path| MountSource::Bind { path }),
        any::<(u64, Option<u32>)>().prop_map(|(size_bytes, mode)| MountSource::Tmpfs { size_bytes, mode }),
    ];
    (source, text(), any::<bool>()).prop_map(|(source, target, read_only)| Mount { source, target, read_only })
}

fn health() -> impl Strategy<Value = HealthPolicy> {
    let probe = prop_oneof![
        (texts(), any::<bool>()).prop_map(|(argv, shell)| Probe::Command { argv, shell }),
        (any::<u16>(), text()).prop_map(|(port, path)| Probe::Http { port, path }),
        any::<u16>().prop_map(|port| Probe::Tcp { port }),
    ];
    let check = (probe, duration(), duration(), any::<u32>(), duration()).prop_map(
        |(probe, interval, timeout, retries, start_period)| HealthCheck {
            probe,
            interval,
            timeout,
            retries,
            start_period,
        },
    );
    prop_oneof![Just(HealthPolicy::FromImage), Just(HealthPolicy::Disabled), check.prop_map(HealthPolicy::Check)]
}

fn pin() -> impl Strategy<Value = Option<ImagePin>> {
    option::of(prop_oneof![text().prop_map(ImagePin::Digest), text().prop_map(ImagePin::LocalId)])
}

fn ulimit() -> impl Strategy<Value = Ulimit> {
    (text(), any::<i64>(), any::<i64>()).prop_map(|(name, soft, hard)| Ulimit { name, soft, hard })
}

fn container() -> impl Strategy<Value = ContainerSpec> {
    let process = (texts(), texts(), texts(), option::of(text()), option::of(text()), option::of(text()));
    let privileges = (any::<bool>(), any::<bool>(), texts(), texts(), vec(ulimit(), 0..3));
    let ending = (option::of(text()), duration(), health());
    (text(), pin(), labels(), vec(mount(), 0..3), process, privileges, ending).prop_map(
        |(image, pin, labels, mounts, process, privileges, ending)| {
            let (entrypoint, args, env, workdir, user, hostname) = process;
            let (read_only, init, cap_add, cap_drop, ulimits) = privileges;
            let (stop_signal, stop_grace_period, health) = ending;
            ContainerSpec {
                image,
                pin,
                labels,
                entrypoint,
                args,
                env,
                workdir,
                user,
                hostname,
                mounts,
                read_only,
                init,
                cap_add,
                cap_drop,
                ulimits,
                stop_signal,
                stop_grace_period,
                health,
            }
        },
    )
}

fn resources() -> impl Strategy<Value = Resources> {
    (0..=NANO_CPUS_MAX, 0..=MEMORY_BYTES_MAX)
        .prop_map(|(nano_cpus, memory_bytes)| Resources { nano_cpus, memory_bytes })
}

fn limits() -> impl Strategy<Value = Limits> {
    (resources(), any::<u64>()).prop_map(|(of, pids)| Limits {
        nano_cpus: of.nano_cpus,
        memory_bytes: of.memory_bytes,
        pids,
    })
}

fn restart() -> impl Strategy<Value = RestartPolicy> {
    let condition = select(vec![RestartCondition::None, RestartCondition::OnFailure, RestartCondition::Any]);
    (condition, option::of(duration()), any::<Option<u32>>(), duration())
        .prop_map(|(condition, delay, max_attempts, window)| RestartPolicy { condition, delay, max_attempts, window })
}

fn node_field() -> impl Strategy<Value = NodeField> {
    let key = "[a-zA-Z0-9._/-]{1,9}";
    prop_oneof![
        select(vec![NodeField::Id, NodeField::Hostname, NodeField::PlatformOs, NodeField::PlatformArch]),
        key.prop_map(NodeField::Label),
        key.prop_map(NodeField::EngineLabel),
    ]
}

fn placement() -> impl Strategy<Value = Placement> {
    let compared = prop_oneof![
        (node_field(), "[a-zA-Z0-9=!]([ -~é]{0,9}[a-z=!])?"),
        (Just(NodeField::Role), "worker|Manager"),
        (Just(NodeField::Ip), "10\\.0\\.0\\.[1-9]|fd00::/8"),
    ];
    let comparison = select(vec![Comparison::Equal, Comparison::NotEqual]);
    let constraint =
        (compared, comparison).prop_map(|((field, value), comparison)| Constraint { field, comparison, value });
    let preferences = vec(node_field().prop_map(SpreadOver), 0..3);
    (vec(constraint, 0..3), preferences, any::<Option<u32>>()).prop_map(
        |(constraints, preferences, max_replicas_per_node)| Placement {
            constraints,
            preferences,
            max_replicas_per_node,
        },
    )
}

fn task_spec() -> impl Strategy<Value = TaskSpec> {
    let on_isolation = select(vec![OnIsolation::Keep, OnIsolation::Stop]);
    (container(), limits(), resources(), restart(), placement(), any::<u64>(), on_isolation).prop_map(
        |(container, limits, reservations, restart, placement, force_update, on_isolation)| TaskSpec {
            container,
            resources: ResourceRequirements { limits, reservations },
            restart,
            placement,
            force_update,
            on_isolation,
        },
    )
}

fn port() -> impl Strategy<Value = PortConfig> {
    let mode = select(vec![PublishMode::Ingress, PublishMode::Host]);
    (any::<u16>(), any::<u16>(), mode).prop_map(|(target, published, mode)| PortConfig {
        protocol: Protocol::Tcp,
        target,
        published,
        mode,
    })
}

fn update() -> impl Strategy<Value = UpdateConfig> {
    let action = select(vec![FailureAction::Pause, FailureAction::Continue, FailureAction::Rollback]);
    let order = select(vec![UpdateOrder::Auto, UpdateOrder::StartFirst, UpdateOrder::StopFirst]);
    (any::<u32>(), duration(), action, duration(), 0.0f32..=1.0, order, duration(), any::<u32>()).prop_map(
        |(parallelism, delay, failure_action, monitor, max_failure_ratio, order, progress_deadline, canary)| {
            UpdateConfig {
                parallelism,
                delay,
                failure_action,
                monitor,
                max_failure_ratio,
                order,
                progress_deadline,
                canary,
            }
        },
    )
}

pub(crate) fn service_spec() -> impl Strategy<Value = ServiceSpec> {
    let mode = prop_oneof![Just(Mode::Global), any::<u32>().prop_map(|replicas| Mode::Replicated { replicas })];
    (text(), labels(), task_spec(), mode, update(), update(), vec(port(), 0..4)).prop_map(
        |(name, labels, task, mode, update, rollback, ports)| ServiceSpec {
            name,
            labels,
            task,
            mode,
            update,
            rollback,
            endpoint: EndpointSpec { ports },
        },
    )
}

fn slot() -> impl Strategy<Value = Slot> {
    prop_oneof![any::<u32>().prop_map(Slot::Number), node_id().prop_map(Slot::Node)]
}

pub(super) fn assignment() -> impl Strategy<Value = Assignment> {
    let ids = (task_id(), service_id(), text(), slot(), any::<u64>());
    let desired =
        select(vec![DesiredState::Ready, DesiredState::Running, DesiredState::Shutdown, DesiredState::Remove]);
    (ids, desired, task_spec(), vec(port(), 0..3), limits()).prop_map(|(ids, desired, spec, host_ports, limits)| {
        let (task_id, service_id, service_name, slot, fence) = ids;
        Assignment {
            task_id,
            service_id,
            service_name,
            slot,
            fence: Fence(fence),
            desired,
            template: Arc::new(Template { spec, host_ports }),
            limits,
        }
    })
}

pub(super) fn ingress_service() -> impl Strategy<Value = IngressService> {
    let backend = (task_id(), node_id(), any::<std::net::IpAddr>(), text())
        .prop_map(|(task_id, node_id, address, node_address)| Backend { task_id, node_id, address, node_address });
    (service_id(), vec(port(), 0..4), vec(backend, 0..4)).prop_map(|(service_id, ports, backends)| IngressService {
        service_id,
        ports,
        backends,
    })
}

fn status() -> impl Strategy<Value = TaskStatus> {
    let evidence = (texts(), option::of(text()), any::<bool>())
        .prop_map(|(log_tail, health, oom_killed)| Box::new(Evidence { log_tail, health, oom_killed }));
    let times = (timestamp(), option::of(timestamp()));
    let words = (text(), option::of(text()), any::<Option<i32>>());
    let container = (option::of(text()), any::<Option<std::net::IpAddr>>(), option::of(evidence), any::<bool>());
    (select(TaskState::ALL.to_vec()), times, words, container).prop_map(|(state, times, words, container)| {
        let (container_id, address, evidence, removed) = container;
        TaskStatus {
            state,
            at: times.0,
            running_at: times.1,
            message: words.0,
            error: words.1,
            exit_code: words.2,
            container_id,
            address,
            evidence,
            removed,
        }
    })
}

pub(super) fn task_report() -> impl Strategy<Value = TaskReport> {
    (task_id(), any::<u64>(), status()).prop_map(|(task_id, fence, status)| TaskReport {
        task_id,
        fence: Fence(fence),
        status,
    })
}

pub(super) fn node_orders() -> impl Strategy<Value = NodeOrders> {
    let role = select(vec![Role::Worker, Role::Manager]);
    let removed = prop::collection::vec(node_id(), 0..3);
    (role, text(), texts(), any::<bool>(), removed).prop_map(
        |(role, roots_digest, managers, show_certificate, removed)| NodeOrders {
            role,
            roots_digest,
            managers,
            show_certificate,
            removed,
        },
    )
}

pub(super) fn node_description() -> impl Strategy<Value = NodeDescription> {
    let health = prop_oneof![Just(EngineHealth::Ok), text().prop_map(EngineHealth::Unavailable)];
    let host = (text(), text(), text(), resources());
    let engine = (text(), text(), labels(), health);
    (host, engine, texts(), text()).prop_map(|(host, engine, problems, muster_version)| NodeDescription {
        hostname: host.0,
        os: host.1,
        arch: host.2,
        resources: host.3,
        engine: engine.0,
        engine_version: engine.1,
        engine_labels: engine.2,
        engine_health: engine.3,
        problems,
        muster_version,
    })
}
