//! One probe: runs it against the container and says in a sentence what was wrong.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use muster_proto::{
    health::{HealthCheck, Probe},
    task::Evidence,
};
use tokio::{net::TcpStream, time::timeout};

use super::http;
use crate::{
    executor::{ContainerId, Executor, ExecutorError},
    words::cut,
};

/// What became of a probe that was to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Pass,
    /// Why it did not pass.
    Fail(String),
    /// It could not be run; that says nothing of the container.
    Unknown(String),
}

/// What a probe needs to know of the container.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) container: &'a ContainerId,
    pub(crate) address: Option<IpAddr>,
}

pub(crate) async fn probe(executor: &dyn Executor, target: Target<'_>, check: &HealthCheck) -> Answer {
    let answer = match &check.probe {
        Probe::Command { argv, shell } => command(executor, target.container, argv, *shell, check.timeout).await,
        Probe::Http { port, path } => match address(target, *port) {
            Ok(address) => of(within(check.timeout, http::get(address, path)).await),
            Err(answer) => answer,
        },
        Probe::Tcp { port } => match address(target, *port) {
            Ok(address) => of(within(check.timeout, connect(address)).await),
            Err(answer) => answer,
        },
    };
    match answer {
        Answer::Fail(why) => Answer::Fail(cut(why, Evidence::TEXT_BYTES_MAX)),
        other @ (Answer::Pass | Answer::Unknown(_)) => other,
    }
}

fn of(result: Result<(), String>) -> Answer {
    result.map_or_else(Answer::Fail, |()| Answer::Pass)
}

fn address(target: Target<'_>, port: u16) -> Result<SocketAddr, Answer> {
    let ip = target.address.ok_or_else(|| Answer::Fail("the container has no address to probe".to_owned()))?;
    Ok(SocketAddr::new(ip, port))
}

async fn within(limit: Duration, probe: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    timeout(limit, probe).await.unwrap_or_else(|_elapsed| Err(format!("no answer within {} ms", limit.as_millis())))
}

async fn connect(address: SocketAddr) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| format!("no connection to {address}: {error}"))
}

async fn command(
    executor: &dyn Executor,
    container: &ContainerId,
    argv: &[String],
    shell: bool,
    limit: Duration,
) -> Answer {
    let argv = if shell {
        ["/bin/sh", "-c"].into_iter().map(str::to_owned).chain(argv.iter().cloned()).collect()
    } else {
        argv.to_vec()
    };
    match executor.exec(container, &argv, limit).await {
        Ok(output) if output.code == 0 => Answer::Pass,
        Ok(output) => {
            let text = output.text.trim();
            let colon = if text.is_empty() { "" } else { ": " };
            Answer::Fail(format!("health command ended with exit code {}{colon}{text}", output.code))
        }
        Err(error @ (ExecutorError::Refused(_) | ExecutorError::Failed(_))) => Answer::Fail(error.to_string()),
        Err(error @ (ExecutorError::Unavailable(_) | ExecutorError::Gone)) => Answer::Unknown(error.to_string()),
    }
}
