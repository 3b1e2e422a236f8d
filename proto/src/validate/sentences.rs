//! Every sentence of this module, as users read them: `sentences.txt` beside this file is the list.
//! `UPDATE_EXPECT=1` writes it anew.

use std::{fmt::Write, time::Duration};

use expect_test::expect_file;
use proptest::prelude::*;

use super::*;
use crate::{
    container::Ulimit,
    convert::any,
    endpoint::{PortConfig, Protocol, PublishMode},
    health::{HealthCheck, HealthPolicy, Probe},
    isolation::OnIsolation,
    mount::{Mount, MountSource},
    pin::ImagePin,
    placement::{Comparison, Constraint, NodeField, SpreadOver},
    rollout::UpdateOrder,
};

const LONG: Duration = Duration::from_secs(8 * 24 * 3600);

type Change = fn(&mut ServiceSpec);

/// A rule each; the parts that depend on one another stand together.
const BROKEN: &[Change] = &[
    |s| s.name = String::new(),
    |s| s.name = "web.1".to_owned(),
    |s| s.name = "-web".to_owned(),
    |s| s.name = "a".repeat(64),
    |s| label(s, "", ""),
    |s| label(s, "a b", ""),
    |s| label(s, "long", &"x".repeat(8193)),
    |s| (0..1025).for_each(|n| label(s, &n.to_string(), "")),
    |s| s.task.container.labels = (0..1025).map(|n| (n.to_string(), String::new())).collect(),
    |s| s.mode = Mode::Replicated { replicas: 10_001 },
    // image
    |s| s.task.container.image = String::new(),
    |s| s.task.container.image = "App:1".to_owned(),
    |s| s.task.container.pin = Some(ImagePin::Digest("latest".to_owned())),
    |s| s.task.container.pin = Some(ImagePin::LocalId("sha256:12".to_owned())),
    // command and environment
    |s| s.task.container.labels = [("a\nb".to_owned(), String::new())].into(),
    |s| s.task.container.labels = [("muster.task".to_owned(), String::new())].into(),
    |s| s.task.container.entrypoint = vec![String::new()],
    |s| s.task.container.entrypoint = vec!["a\0".to_owned()],
    |s| s.task.container.args = vec!["a\0b".to_owned()],
    |s| s.task.container.args = vec![String::new(); 1025],
    |s| s.task.container.env = vec!["KEY".to_owned()],
    |s| s.task.container.env = vec!["=value".to_owned()],
    |s| s.task.container.env = vec!["A=\0".to_owned()],
    |s| s.task.container.env = vec![format!("LONG={}", "x".repeat(131_072))],
    |s| s.task.container.env = vec!["A=1".to_owned(); 1025],
    // identity
    |s| s.task.container.user = Some("a:b:c".to_owned()),
    |s| s.task.container.user = Some(String::new()),
    |s| s.task.container.workdir = Some("app".to_owned()),
    |s| s.task.container.hostname = Some("web_1".to_owned()),
    |s| s.task.container.hostname = Some("a".repeat(64)),
    // mounts
    |s| mount(s, volume("data"), "data"),
    |s| mount(s, volume("data"), "/"),
    |s| mount(s, volume("data"), "/a/../b"),
    |s| mount(s, volume("d"), "/data"),
    |s| mount(s, MountSource::Bind { path: "srv".to_owned() }, "/srv"),
    |s| mount(s, MountSource::Tmpfs { size_bytes: 0, mode: Some(0o10_000) }, "/tmp"),
    |s| mount(s, MountSource::Tmpfs { size_bytes: u64::MAX, mode: None }, "/tmp"),
    |s| ["/data", "/data/"].into_iter().for_each(|target| mount(s, volume("data"), target)),
    |s| ["/data", "//./data"].into_iter().for_each(|target| mount(s, volume("data"), target)),
    |s| mount(s, volume("data"), "/./"),
    |s| (0..129).for_each(|n| mount(s, volume("data"), &format!("/{n}"))),
    // privileges and limits of processes
    |s| s.task.container.cap_add = vec!["NET_ADMIN".to_owned(), "cap_fly".to_owned()],
    |s| s.task.container.cap_drop = vec![String::new()],
    |s| ulimit(s, "files", 1, 1),
    |s| ulimit(s, "nofile", 2, 1),
    |s| ulimit(s, "nofile", -2, -2),
    |s| [1, 2].into_iter().for_each(|n| ulimit(s, "nofile", n, n)),
    // stopping
    |s| s.task.container.stop_signal = Some("SIGFOO".to_owned()),
    |s| s.task.container.stop_grace_period = LONG,
    // health
    |s| health(s, |check| check.probe = Probe::Command { argv: Vec::new(), shell: false }),
    |s| health(s, |check| check.probe = Probe::Command { argv: vec![String::new()], shell: true }),
    |s| health(s, |check| check.probe = Probe::Command { argv: vec!["a".to_owned(); 2], shell: true }),
    |s| health(s, |check| check.probe = Probe::Command { argv: vec!["a\0".to_owned()], shell: false }),
    |s| health(s, |check| check.probe = Probe::Http { port: 0, path: "/".to_owned() }),
    |s| health(s, |check| check.probe = Probe::Http { port: 80, path: "healthz".to_owned() }),
    |s| health(s, |check| check.probe = Probe::Http { port: 80, path: "/a\r\nHost: b".to_owned() }),
    |s| health(s, |check| check.probe = Probe::Tcp { port: 0 }),
    |s| health(s, |check| check.interval = Duration::ZERO),
    |s| health(s, |check| check.interval = LONG),
    |s| health(s, |check| check.timeout = Duration::ZERO),
    |s| health(s, |check| check.start_period = LONG),
    |s| health(s, |check| check.retries = 0),
    // resources
    |s| s.task.resources.limits.nano_cpus = 9_999_999,
    |s| s.task.resources.limits.nano_cpus = u64::MAX,
    |s| s.task.resources.limits.memory_bytes = 1 << 20,
    |s| s.task.resources.limits.memory_bytes = u64::MAX,
    |s| s.task.resources.limits.pids = u64::MAX,
    |s| s.task.resources.reservations.nano_cpus = u64::MAX,
    |s| s.task.resources.reservations.memory_bytes = u64::MAX,
    |s| (s.task.resources.limits.nano_cpus, s.task.resources.reservations.nano_cpus) = (500_000_000, 1_000_000_000),
    |s| (s.task.resources.limits.memory_bytes, s.task.resources.reservations.memory_bytes) = (64 << 20, 1 << 30),
    // restarts
    |s| s.task.restart.max_attempts = Some(0),
    |s| (s.task.restart.max_attempts, s.task.restart.window) = (Some(101), Duration::from_secs(1)),
    |s| s.task.restart.delay = Some(LONG),
    |s| s.task.restart.window = LONG,
    // placement
    |s| constraint(s, NodeField::Role, "boss"),
    |s| constraint(s, NodeField::Label(String::new()), "a"),
    |s| (0..65).for_each(|_| constraint(s, NodeField::Hostname, "a")),
    |s| s.task.placement.preferences = vec![SpreadOver(NodeField::EngineLabel("a b".to_owned()))],
    |s| s.task.placement.preferences = vec![SpreadOver(NodeField::Hostname); 9],
    |s| s.task.placement.max_replicas_per_node = Some(0),
    |s| (s.mode, s.task.placement.max_replicas_per_node) = (Mode::Global, Some(1)),
    // rollouts
    |s| s.update.parallelism = 10_001,
    |s| s.update.max_failure_ratio = f32::NAN,
    |s| s.update.max_failure_ratio = 1.5,
    |s| s.rollback.max_failure_ratio = -0.5,
    |s| s.update.delay = LONG,
    |s| s.rollback.monitor = LONG,
    |s| s.rollback.progress_deadline = LONG,
    |s| (s.task.on_isolation, s.update.order) = (OnIsolation::Stop, UpdateOrder::StartFirst),
    |s| s.update.canary = 10_001,
    |s| s.rollback.canary = 1,
    |s| (s.task.on_isolation, s.rollback.order) = (OnIsolation::Stop, UpdateOrder::StartFirst),
    // ports
    |s| port(s, 80, 0, PublishMode::Ingress),
    |s| [PublishMode::Ingress, PublishMode::Host].into_iter().for_each(|mode| port(s, 80, 80, mode)),
    |s| (0..2).for_each(|_| port(s, 0, 80, PublishMode::Ingress)),
    |s| (1..130).for_each(|n| port(s, n, n, PublishMode::Ingress)),
    // the whole
    |s| (0..40).for_each(|n| label(s, &n.to_string(), &"x".repeat(8192))),
];

/// The same of nodes.
const BROKEN_NODES: &[fn(&mut NodeChange)] = &[
    |n| node_label(n, "", ""),
    |n| node_label(n, "a b", ""),
    |n| node_label(n, &"a".repeat(256), ""),
    |n| node_label(n, "long", &"x".repeat(8193)),
    |n| (0..1025).for_each(|at| node_label(n, &at.to_string(), "")),
    |n| (0..9).for_each(|at| node_label(n, &at.to_string(), &"x".repeat(8192))),
];

fn node_label(change: &mut NodeChange, key: &str, value: &str) {
    change.labels.insert(key.to_owned(), value.to_owned());
}

fn label(spec: &mut ServiceSpec, key: &str, value: &str) {
    spec.labels.insert(key.to_owned(), value.to_owned());
}

fn volume(name: &str) -> MountSource {
    MountSource::Volume { name: name.to_owned() }
}

fn mount(spec: &mut ServiceSpec, source: MountSource, target: &str) {
    spec.task.container.mounts.push(Mount { source, target: target.to_owned(), read_only: false });
}

fn ulimit(spec: &mut ServiceSpec, name: &str, soft: i64, hard: i64) {
    spec.task.container.ulimits.push(Ulimit { name: name.to_owned(), soft, hard });
}

fn constraint(spec: &mut ServiceSpec, field: NodeField, value: &str) {
    spec.task.placement.constraints.push(Constraint { field, comparison: Comparison::Equal, value: value.to_owned() });
}

fn port(spec: &mut ServiceSpec, published: u16, target: u16, mode: PublishMode) {
    spec.endpoint.ports.push(PortConfig { protocol: Protocol::Tcp, target, published, mode });
}

fn health(spec: &mut ServiceSpec, change: fn(&mut HealthCheck)) {
    let mut check = HealthCheck {
        probe: Probe::Http { port: 8080, path: "/healthz".to_owned() },
        interval: HealthCheck::INTERVAL,
        timeout: HealthCheck::TIMEOUT,
        retries: HealthCheck::RETRIES,
        start_period: HealthCheck::START_PERIOD,
    };
    change(&mut check);
    spec.task.container.health = HealthPolicy::Check(check);
}

#[test]
fn every_rule_has_a_sentence() {
    let mut sentences = String::new();
    for (place, change) in BROKEN.iter().enumerate() {
        let mut spec = ServiceSpec::new("web", "app:1.0");
        change(&mut spec);
        told(&mut sentences, place, service_spec(&spec));
    }
    for (place, change) in BROKEN_NODES.iter().enumerate() {
        let mut node = NodeChange::default();
        change(&mut node);
        told(&mut sentences, place, node_change(&node));
    }
    expect_file!["sentences.txt"].assert_eq(&sentences);
}

fn told(sentences: &mut String, place: usize, judged: Result) {
    match judged {
        Ok(()) => panic!("change {place} breaks no rule"),
        Err(Invalid { field, text }) => {
            let field = if field.is_empty() { "(spec)" } else { &field };
            writeln!(sentences, "{field}\n    {text}").expect("a String takes everything");
        }
    }
}

/// The other side of every bound: what is still accepted.
const SOUND: &[Change] = &[
    |_| {},
    |s| s.name = "a".repeat(63),
    |s| s.name = "My_web-1".to_owned(),
    |s| s.mode = Mode::Replicated { replicas: 0 },
    |s| s.mode = Mode::Replicated { replicas: 10_000 },
    |s| s.mode = Mode::Global,
    |s| label(s, "traefik.http.routers.web.rule", &"x".repeat(8192)),
    |s| s.task.container.pin = Some(ImagePin::LocalId(format!("sha256:{}", "0".repeat(64)))),
    |s| s.task.container.env = vec!["A=".to_owned(), "B=c=d".to_owned()],
    |s| s.task.container.user = Some("1000:www-data".to_owned()),
    |s| s.task.container.workdir = Some("/".to_owned()),
    |s| s.task.container.hostname = Some("web-1.example".to_owned()),
    |s| mount(s, MountSource::Bind { path: "/".to_owned() }, "/host"),
    |s| mount(s, MountSource::Tmpfs { size_bytes: 0, mode: Some(0o1777) }, "/..data"),
    |s| s.task.container.cap_add = vec!["net_admin".to_owned(), "CAP_SYS_TIME".to_owned(), "ALL".to_owned()],
    |s| ulimit(s, "nofile", 1, -1),
    |s| s.task.container.stop_signal = Some("SIGRTMIN+3".to_owned()),
    |s| s.task.container.stop_grace_period = Duration::ZERO,
    |s| health(s, |_| {}),
    |s| health(s, |check| check.probe = Probe::Command { argv: vec!["curl -f x".to_owned()], shell: true }),
    |s| s.task.resources.limits.nano_cpus = 10_000_000,
    |s| s.task.resources.limits.memory_bytes = 6 << 20,
    |s| s.task.resources.reservations.memory_bytes = 1,
    |s| (s.task.resources.limits.memory_bytes, s.task.resources.reservations.memory_bytes) = (64 << 20, 64 << 20),
    |s| (s.task.restart.max_attempts, s.task.restart.window) = (Some(100), Duration::from_secs(1)),
    |s| s.task.restart.max_attempts = Some(1_000),
    |s| constraint(s, NodeField::Ip, "10.0.0.0/8"),
    |s| s.task.placement.max_replicas_per_node = Some(1),
    |s| (s.update.max_failure_ratio, s.update.parallelism) = (1.0, 0),
    |s| (s.task.on_isolation, s.update.order) = (OnIsolation::Stop, UpdateOrder::StopFirst),
    |s| (0..2).for_each(|n| port(s, 0, 80 + n, PublishMode::Host)),
    |s| (1..129).for_each(|n| port(s, n, 80, PublishMode::Ingress)),
];

#[test]
fn what_is_sound_is_accepted() {
    for (place, change) in SOUND.iter().enumerate() {
        let mut spec = ServiceSpec::new("web", "app:1.0");
        change(&mut spec);
        assert_eq!(service_spec(&spec), Ok(()), "change {place}");
    }
    let mut node = NodeChange::default();
    assert_eq!(node_change(&node), Ok(()));
    node_label(&mut node, &"a".repeat(255), &"x".repeat(8192));
    (0..1023).for_each(|at| node_label(&mut node, &at.to_string(), ""));
    assert_eq!(node_change(&node), Ok(()));
}

proptest! {
    /// Whatever came off the wire is accepted or refused in words.
    #[test]
    fn any_spec_is_judged(spec in any::service_spec()) {
        if let Err(invalid) = service_spec(&spec) {
            prop_assert!(invalid.text.contains("; ") && !invalid.text.contains(char::is_control), "{invalid}");
        }
    }
}
