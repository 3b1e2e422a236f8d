//! The health check.

use super::{Invalid, LIST_MAX, Result, TASK_WAIT_MAX, at_most, count, no_zero_byte};
use crate::{
    health::{HealthCheck, HealthPolicy, Probe},
    parse::Quoted,
};

const PATH_BYTES_MAX: usize = 2048;

pub(super) fn check(policy: &HealthPolicy) -> Result {
    match policy {
        HealthPolicy::FromImage | HealthPolicy::Disabled => Ok(()),
        HealthPolicy::Check(check) => probe(&check.probe).and_then(|()| timing(check)),
    }
}

fn probe(probe: &Probe) -> Result {
    let field = "task.container.health.check.probe";
    match probe {
        Probe::Command { argv, shell } => {
            count(field, "words in the health check", argv.len(), LIST_MAX)?;
            no_zero_byte(field, "health check", argv.iter().map(String::as_str))?;
            if argv.first().is_none_or(String::is_empty) {
                return Err(Invalid::new(
                    field,
                    "the health check has no command",
                    "name one, or use --no-healthcheck",
                ));
            }
            if *shell && argv.len() > 1 {
                return Err(Invalid::new(
                    field,
                    "the health check gives the shell more than one text",
                    "write the command line as one text",
                ));
            }
            Ok(())
        }
        Probe::Http { port, path } => {
            port_is_set(field, *port)?;
            if path.starts_with('/') && path.len() <= PATH_BYTES_MAX && path.bytes().all(|b| b.is_ascii_graphic()) {
                return Ok(());
            }
            Err(Invalid::new(
                field,
                format!("the health check cannot ask for {}", Quoted(path)),
                format!("use a path that starts with /, without spaces, of up to {PATH_BYTES_MAX} characters"),
            ))
        }
        Probe::Tcp { port } => port_is_set(field, *port),
    }
}

fn port_is_set(field: &str, port: u16) -> Result {
    match port {
        0 => Err(Invalid::new(field, "the health check has port 0", "name the port the container listens on")),
        _ => Ok(()),
    }
}

fn timing(check: &HealthCheck) -> Result {
    for (field, what, duration) in [
        ("task.container.health.check.interval_ms", "health interval", check.interval),
        ("task.container.health.check.timeout_ms", "health timeout", check.timeout),
    ] {
        if duration.is_zero() {
            return Err(Invalid::new(field, format!("the {what} is zero"), "use 1ms or more"));
        }
        at_most(field, what, duration, TASK_WAIT_MAX)?;
    }
    let field = "task.container.health.check.start_period_ms";
    at_most(field, "health start period", check.start_period, TASK_WAIT_MAX)?;
    match check.retries {
        0 => Err(Invalid::new("task.container.health.check.retries", "the health retries are 0", "use 1 or more")),
        _ => Ok(()),
    }
}
