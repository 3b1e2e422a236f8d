//! A service for people: `service inspect --pretty`.

use std::time::Duration;

use muster_proto::{
    container::ContainerSpec,
    health::{HealthPolicy, Probe},
    mount::{Mount, MountSource},
    restart::RestartPolicy,
    rollout::UpdateConfig,
    service::Mode,
    show,
    time::Timestamp,
};

use super::ls;
use crate::{
    format::{
        evidence,
        lines::Lines,
        text::{ago, labels},
    },
    object::{Service, service::Rollout},
    spec::words,
};

#[must_use]
pub fn text(service: &Service, now: Timestamp) -> String {
    let mut lines = Lines::new();
    let spec = &service.spec;
    lines.top("ID", &service.id).top("Name", &spec.name).top("Labels", labels(&spec.labels));
    lines.top("Service Mode", ls::mode(spec.mode));
    match spec.mode {
        Mode::Replicated { replicas } => lines.under("Replicas", replicas),
        Mode::Global => &mut lines,
    };
    lines.top("Created", ago(service.created_at, now)).top("Updated", ago(service.updated_at, now));
    if let Some(rollout) = &service.rollout {
        update_status(&mut lines, rollout, now);
    }
    let placement = &spec.task.placement;
    lines.heading("Placement");
    lines.under("Constraints", joined(&placement.constraints)).under("Preferences", joined(&placement.preferences));
    lines.under("Max per node", placement.max_replicas_per_node.map_or_else(String::new, |max| max.to_string()));
    lines.under("On isolation", spec.task.on_isolation);
    lines.heading("Update");
    rollout_config(&mut lines, &spec.update);
    lines.heading("Rollback");
    rollout_config(&mut lines, &spec.rollback);
    lines.heading("Container");
    container(&mut lines, &spec.task.container);
    lines.heading("Resources");
    let resources = &spec.task.resources;
    let amount = |amount: u64, shown: fn(u64) -> String| if amount == 0 { String::new() } else { shown(amount) };
    lines.under("Limit cpu", amount(resources.limits.nano_cpus, show::cpus));
    lines.under("Limit memory", amount(resources.limits.memory_bytes, show::bytes));
    lines.under("Limit pids", amount(resources.limits.pids, |pids| pids.to_string()));
    lines.under("Reserved cpu", amount(resources.reservations.nano_cpus, show::cpus));
    lines.under("Reserved memory", amount(resources.reservations.memory_bytes, show::bytes));
    lines.heading("Restart");
    restart(&mut lines, &spec.task.restart);
    lines.top("Ports", show::ports(&service.ports));
    lines.text()
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn update_status(lines: &mut Lines, rollout: &Rollout, now: Timestamp) {
    lines.heading("Update status").under("State", rollout.state.as_str());
    lines.under("Started", ago(rollout.started_at, now));
    lines.under("Completed", rollout.completed_at.map_or_else(String::new, |at| ago(at, now)));
    lines.under("Message", &rollout.message);
    for failure in &rollout.failures {
        let error = evidence::error(&failure.error, failure.exit_code);
        lines.under("Failed", format!("slot {}: {error}", failure.slot));
        for line in failure.evidence.iter().flat_map(|evidence| evidence::left(&failure.error, evidence)) {
            lines.more(format_args!("  {line}"));
        }
    }
}

fn rollout_config(lines: &mut Lines, config: &UpdateConfig) {
    let deadline = match config.progress_deadline {
        Duration::ZERO => "none".to_owned(),
        deadline => show::duration(deadline),
    };
    lines.under("Parallelism", config.parallelism).under("Delay", show::duration(config.delay));
    lines.under("On failure", config.failure_action).under("Monitor", show::duration(config.monitor));
    lines.under("Max failure ratio", config.max_failure_ratio).under("Order", config.order);
    lines.under("Progress deadline", deadline);
    lines.under("Canaries", if config.canary == 0 { String::new() } else { config.canary.to_string() });
}

fn container(lines: &mut Lines, container: &ContainerSpec) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    lines.under("Image", &container.image);
    lines.under("Pinned to", container.pin.as_ref().map_or_else(String::new, ToString::to_string));
    lines.under("Entrypoint", words::join(&container.entrypoint)).under("Args", words::join(&container.args));
    lines.under("Env", container.env.join(" ")).under("Labels", labels(&container.labels));
    lines.under("Dir", text(&container.workdir)).under("User", text(&container.user));
    lines.under("Hostname", text(&container.hostname));
    lines.under("Mounts", joined(&container.mounts.iter().map(mount).collect::<Vec<_>>()));
    lines.under("Read-only", if container.read_only { "true" } else { "" });
    lines.under("Init", if container.init { "true" } else { "" });
    lines.under("Capabilities added", container.cap_add.join(", "));
    lines.under("Capabilities dropped", container.cap_drop.join(", "));
    let ulimits = container.ulimits.iter().map(|ulimit| format!("{}={}:{}", ulimit.name, ulimit.soft, ulimit.hard));
    lines.under("Ulimits", ulimits.collect::<Vec<_>>().join(", "));
    lines.under("Stop signal", text(&container.stop_signal));
    lines.under("Stop grace", show::duration(container.stop_grace_period));
    lines.under("Health check", health(&container.health));
}

fn mount(mount: &Mount) -> String {
    let source = match &mount.source {
        MountSource::Volume { name } => format!("volume {name}"),
        MountSource::Bind { path } => format!("bind {path}"),
        MountSource::Tmpfs { .. } => "tmpfs".to_owned(),
    };
    format!("{source} at {}{}", mount.target, if mount.read_only { " (read-only)" } else { "" })
}

fn health(policy: &HealthPolicy) -> String {
    match policy {
        HealthPolicy::FromImage => "the image's own".to_owned(),
        HealthPolicy::Disabled => "none".to_owned(),
        HealthPolicy::Check(check) => {
            let probe = match &check.probe {
                Probe::Command { argv, shell: true } => argv.join(" "),
                Probe::Command { argv, shell: false } => words::join(argv),
                Probe::Http { port, path } => format!("http {port}{path}"),
                Probe::Tcp { port } => format!("tcp {port}"),
            };
            let each = show::duration(check.interval);
            format!("{probe} (every {each}, timeout {}, retries {})", show::duration(check.timeout), check.retries)
        }
    }
}

fn restart(lines: &mut Lines, restart: &RestartPolicy) {
    lines.under("Condition", restart.condition);
    lines.under("Delay", restart.delay.map_or_else(|| "auto".to_owned(), show::duration));
    lines.under("Max attempts", restart.max_attempts.map_or_else(String::new, |max| max.to_string()));
    lines.under("Window", if restart.window.is_zero() { String::new() } else { show::duration(restart.window) });
}
