//! Messages that are no longer what they claim to be, and the field that each refusal names.

use super::ConvertError;
use crate::{
    assignment::{Assignment, Backend},
    cluster::ClusterSpec,
    id::{NodeId, ServiceId, TaskId},
    node::{NodeChange, NodeDescription},
    service::ServiceSpec,
    task::TaskStatus,
    task_state::TaskState,
    time::Timestamp,
    v1,
};

fn check<W, D: TryFrom<W, Error = ConvertError> + std::fmt::Debug>(wire: W, expected: &str) {
    assert_eq!(D::try_from(wire).expect_err(expected).to_string(), expected);
}

fn spec(change: impl FnOnce(&mut v1::ServiceSpec), expected: &str) {
    let mut wire = v1::ServiceSpec::from(&ServiceSpec::new("web", "app:1"));
    change(&mut wire);
    check::<_, ServiceSpec>(wire, expected);
}

fn task(change: impl FnOnce(&mut v1::TaskSpec), expected: &str) {
    spec(|spec| change(spec.task.as_mut().expect("just made")), expected);
}

fn container(change: impl FnOnce(&mut v1::ContainerSpec), expected: &str) {
    task(|task| change(task.container.as_mut().expect("just made")), expected);
}

fn update(change: impl FnOnce(&mut v1::UpdateConfig), expected: &str) {
    spec(|spec| change(spec.update.as_mut().expect("just made")), expected);
}

#[test]
fn what_is_missing() {
    spec(|s| s.task = None, "task is missing");
    spec(|s| s.mode = None, "mode is missing");
    spec(|s| s.mode = Some(v1::Mode { mode: None }), "mode.mode is missing");
    spec(|s| s.update = None, "update is missing");
    spec(|s| s.rollback = None, "rollback is missing");
    task(|t| t.container = None, "task.container is missing");
    task(|t| t.limits = None, "task.limits is missing");
    task(|t| t.reservations = None, "task.reservations is missing");
    task(|t| t.restart = None, "task.restart is missing");
    task(|t| t.placement = None, "task.placement is missing");
    container(|c| c.health = None, "task.container.health is missing");
    container(|c| c.health = Some(v1::HealthPolicy::default()), "task.container.health.policy is missing");
    container(|c| c.pin = Some(v1::ImagePin::default()), "task.container.pin.pin is missing");
    container(|c| c.mounts = vec![v1::Mount::default()], "task.container.mounts[0].source is missing");
    check::<_, ServiceSpec>(v1::ServiceSpec::default(), "task is missing");
    check::<_, Assignment>(v1::Assignment::default(), "spec is missing");
    check::<_, NodeDescription>(v1::NodeDescription::default(), "resources is missing");
}

#[test]
fn what_is_not_a_choice() {
    update(|u| u.order = 0, "update.order is not set");
    update(|u| u.order = 77, "update.order is 77, which is not known here");
    update(|u| u.failure_action = -1, "update.failure_action is -1, which is not known here");
    spec(|s| s.ports = vec![v1::PortConfig::default()], "ports[0].protocol is not set");
    task(|t| t.restart.as_mut().expect("just made").condition = 0, "task.restart.condition is not set");
    check::<_, NodeChange>(v1::UpdateNodeRequest::default(), "availability is not set");
}

#[test]
fn what_is_out_of_range() {
    let port = |target, published| v1::PortConfig {
        protocol: v1::Protocol::Tcp.into(),
        target,
        published,
        mode: v1::PublishMode::Host.into(),
    };
    spec(|s| s.ports = vec![port(1, 1), port(65_536, 1)], "ports[1].target is 65536, which is above 65535");
    spec(|s| s.ports = vec![port(1, u32::MAX)], "ports[0].published is 4294967295, which is above 65535");
    update(|u| u.max_failure_ratio = f32::NAN, "update.max_failure_ratio is NaN, which is not from 0 to 1");
    update(|u| u.max_failure_ratio = f32::INFINITY, "update.max_failure_ratio is inf, which is not from 0 to 1");
    update(|u| u.max_failure_ratio = -0.1, "update.max_failure_ratio is -0.1, which is not from 0 to 1");
    update(|u| u.delay_ms = u64::MAX, "update.delay_ms is 18446744073709551615, which is above 315360000000");
    task(
        |t| t.limits.as_mut().expect("just made").memory_bytes = u64::MAX,
        "task.limits.memory_bytes is 18446744073709551615, which is above 1125899906842624",
    );
    let tcp = v1::health_check::Probe::Tcp(v1::health_check::Tcp { port: 70_000 });
    let check = v1::HealthCheck { probe: Some(tcp), ..Default::default() };
    let policy = v1::HealthPolicy { policy: Some(v1::health_policy::Policy::Check(check)) };
    container(|c| c.health = Some(policy), "task.container.health.check.probe.tcp.port is 70000, which is above 65535");
}

#[test]
fn what_is_not_readable() {
    task(
        |t| t.placement.as_mut().expect("just made").constraints = vec!["node.zone".to_owned()],
        "task.placement.constraints[0] is not valid: invalid constraint \"node.zone\": it has neither == nor !=; write \
         it like node.labels.zone==a or node.hostname!=db1",
    );
    let status = v1::TaskStatus::from(&TaskStatus::new(TaskState::Running, Timestamp::EPOCH, ""));
    check::<_, TaskStatus>(
        v1::TaskStatus { address: Some("here".to_owned()), ..status.clone() },
        "address is \"here\", which is not an IP address",
    );
    check::<_, TaskStatus>(
        v1::TaskStatus { at: u64::MAX, ..status },
        "at is 18446744073709551615, which is above 253402300799999",
    );
    let backend = v1::Backend {
        task_id: TaskId::from_bits(1).to_string(),
        node_id: NodeId::from_bits(1).to_string()[1..].to_owned(),
        address: "10.0.0.1".to_owned(),
        node_address: "10.0.0.9:7377".to_owned(),
    };
    let service = v1::IngressService {
        service_id: ServiceId::from_bits(1).to_string(),
        ports: Vec::new(),
        backends: vec![backend.clone()],
    };
    check::<_, crate::assignment::IngressService>(
        service,
        "backends[0].node_id is \"000000000000000000000001\", which is not an id",
    );
    check::<_, Backend>(v1::Backend { task_id: String::new(), ..backend }, "task_id is \"\", which is not an id");
}

#[test]
fn settings_that_no_clock_reaches() {
    let wire = v1::ClusterSpec { lease_ms: u64::MAX, ..v1::ClusterSpec::from(&ClusterSpec::default()) };
    let error = ClusterSpec::try_from(wire).expect_err("it is longer than time");
    assert!(error.to_string().starts_with("lease_ms is 18446744073709551615, which is above"), "{error}");
}
