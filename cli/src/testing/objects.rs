//! Services, tasks and nodes as the daemon tells them, made from flags as far as there are flags for it.

use clap::{CommandFactory, FromArgMatches, Parser};
use muster_proto::{service::ServiceSpec, v1};

use super::{Fixed, NOW};
use crate::{
    error::Error,
    flags,
    object::{Service, Task},
    spec::{
        build::{self, CreateFlags},
        change::{self, ChangeFlags},
    },
};

#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Create {
    #[command(flatten)]
    flags: CreateFlags,
}

#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Change {
    #[command(flatten)]
    flags: ChangeFlags,
}

fn parse<P: CommandFactory + FromArgMatches>(line: &str) -> Result<P, Error> {
    let words = crate::spec::words::split(line).map_err(Error::Usage)?;
    let matches = flags::alike(P::command()).try_get_matches_from(words);
    matches.and_then(|matches| P::from_arg_matches(&matches)).map_err(|error| Error::Usage(first_line(&error)))
}

fn first_line(error: &clap::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// What `service create LINE` asks for, and its warnings.
pub(crate) fn create(line: &str) -> Result<(ServiceSpec, Vec<String>), Error> {
    let surroundings = Fixed::default().variable("HOME", "/home/me").file("a.env", "A=1\nHOME\n");
    build::spec(&parse::<Create>(line)?.flags, "made_up_0000", &surroundings)
}

/// What `service update LINE` makes of the spec, and its warnings.
pub(crate) fn update(mut spec: ServiceSpec, line: &str) -> Result<(ServiceSpec, Vec<String>), Error> {
    let warnings = change::apply(&parse::<Change>(line)?.flags, &mut spec, &Fixed::default())?;
    Ok((spec, warnings))
}

/// 25 characters that begin with `name`.
pub(crate) fn id(name: &str) -> String {
    format!("{name:0<25}")
}

/// Version 10, template version 10, made an hour before now.
pub(crate) fn service(line: &str) -> v1::Service {
    let (spec, _) = create(line).expect("the flags are right");
    v1::Service {
        id: id(&format!("s{}", spec.name)),
        version: 10,
        created_at: NOW.millis() - 3_600_000,
        updated_at: NOW.millis() - 3_600_000,
        ports: spec.endpoint.ports.iter().map(Into::into).collect(),
        spec: Some((&spec).into()),
        previous_spec: None,
        template_version: 10,
        rollout: None,
    }
}

/// A task of the service in a numbered slot, with a node, in this state for five seconds.
pub(crate) fn task(service: &v1::Service, slot: u32, name: &str, state: v1::TaskState) -> v1::Task {
    let spec = service.spec.clone().expect("set above");
    v1::Task {
        id: id(name),
        version: 11,
        created_at: NOW.millis() - 60_000,
        service_id: service.id.clone(),
        service_name: spec.name,
        slot: Some(v1::Slot { slot: Some(v1::slot::Slot::Number(slot)) }),
        template_version: service.template_version,
        spec: spec.task,
        host_ports: Vec::new(),
        node_id: Some(id("n1")),
        fence: 11,
        desired: match state {
            v1::TaskState::Failed | v1::TaskState::Rejected | v1::TaskState::Shutdown | v1::TaskState::Complete => {
                v1::DesiredState::Shutdown.into()
            }
            _ => v1::DesiredState::Running.into(),
        },
        status: Some(v1::TaskStatus {
            state: state.into(),
            at: NOW.millis() - 5_000,
            message: "started".to_owned(),
            ..v1::TaskStatus::default()
        }),
        start_after: None,
        waiting: None,
        failures: 0,
        moves_to: None,
    }
}

/// With no node, and the reason for it.
pub(crate) fn waiting(mut task: v1::Task, reason: &str) -> v1::Task {
    task.node_id = None;
    task.waiting = Some(reason.to_owned());
    task
}

/// Failed with this error and what it left.
pub(crate) fn failed(service: &v1::Service, slot: u32, name: &str, error: &str) -> v1::Task {
    let mut task = task(service, slot, name, v1::TaskState::Failed);
    let status = task.status.as_mut().expect("set above");
    status.error = Some(error.to_owned());
    status.exit_code = Some(3);
    status.evidence = Some(v1::Evidence { log_tail: vec!["no database".to_owned()], ..v1::Evidence::default() });
    task.created_at -= 30_000;
    task
}

pub(crate) fn rollout(state: &str, target: u64) -> v1::Rollout {
    v1::Rollout {
        state: state.to_owned(),
        target,
        started_at: NOW.millis() - 20_000,
        progressed_at: NOW.millis() - 10_000,
        message: format!("{state} for a reason"),
        ..v1::Rollout::default()
    }
}

pub(crate) fn node(name: &str, hostname: &str) -> v1::Node {
    v1::Node {
        id: id(name),
        version: 3,
        created_at: NOW.millis() - 86_400_000,
        updated_at: NOW.millis() - 3_600_000,
        role: v1::Role::Manager.into(),
        availability: v1::Availability::Active.into(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        description: Some(v1::NodeDescription {
            hostname: hostname.to_owned(),
            os: "linux".to_owned(),
            arch: "x86_64".to_owned(),
            resources: Some(v1::Resources { nano_cpus: 4_000_000_000, memory_bytes: 8 << 30 }),
            engine: "docker".to_owned(),
            engine_version: "20.10.24".to_owned(),
            muster_version: "0.1.0".to_owned(),
            ..v1::NodeDescription::default()
        }),
        address: "10.0.0.1:7377".to_owned(),
        state: v1::NodeState::Ready.into(),
        leader: true,
        manager: None,
        last_seen: None,
        certificate_expires_at: None,
    }
}

pub(crate) fn read_service(service: v1::Service) -> Service {
    service.try_into().expect("it is whole")
}

pub(crate) fn read_tasks(tasks: Vec<v1::Task>) -> Vec<Task> {
    crate::object::task::all(tasks).expect("they are whole")
}
