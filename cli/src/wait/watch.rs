//! The loop that follows a service until it is as asked, cannot be, or the user has seen enough.

use std::{io, pin::Pin, time::Duration};

use muster_proto::v1;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::{Code, Streaming};

use super::{
    progress::Progress,
    verdict::{Goal, Judge, Snapshot, Verdict},
};
use crate::{
    connect::{Daemon, Host},
    error::{Error, is_transport},
    object::{self, Service},
    out::Out,
};

/// Rules that count seconds need looking at without news too.
const TICK: Duration = Duration::from_millis(500);
/// A daemon that restarts is back well within this.
const RECONNECT_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chatter {
    Progress,
    Quiet,
}

/// What is waited for.
#[derive(Debug)]
pub struct Wait<'a> {
    pub host: &'a Host,
    pub service_id: &'a str,
    pub name: &'a str,
    pub goal: Goal,
    pub chatter: Chatter,
}

/// Everything that can wake the loop.
enum Event {
    Changed(Box<Snapshot>),
    Tick,
    Lost(Error),
    Interrupted,
}

enum Ended {
    Converged(String),
    Interrupted,
}

pub async fn until_as_asked(wait: Wait<'_>, out: &mut Out) -> Result<(), Error> {
    let mut progress = match wait.chatter {
        Chatter::Progress => Progress::on(out.screen),
        Chatter::Quiet => Progress::Silent,
    };
    let ended = follow(&wait, &mut progress, out).await;
    progress.end();
    match (ended?, wait.chatter) {
        (Ended::Converged(text), Chatter::Progress) => out.note(text),
        (Ended::Converged(_), Chatter::Quiet) => {}
        (Ended::Interrupted, Chatter::Progress | Chatter::Quiet) => out.note(format_args!(
            "service {name}: the operation goes on in the background; watch it with `muster service ps {name}`",
            name = wait.name
        )),
    }
    Ok(())
}

async fn follow(wait: &Wait<'_>, progress: &mut Progress, out: &mut Out) -> Result<Ended, Error> {
    let began = Instant::now();
    let mut judge = Judge::new(wait.goal.clone(), wait.name);
    let mut latest: Option<Box<Snapshot>> = None;
    let mut stream = open(wait).await?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // One for the whole wait: a signal between two turns of the loop must not be lost.
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        match next(&mut stream, &mut ticks, interrupted.as_mut()).await {
            Event::Interrupted => return Ok(Ended::Interrupted),
            Event::Lost(error) => stream = reopen(wait, error, out).await?,
            Event::Tick => {}
            Event::Changed(snapshot) => {
                progress.show(&snapshot, out);
                latest = Some(snapshot);
            }
        }
        let Some(snapshot) = &latest else { continue };
        match judge.verdict(snapshot, began.elapsed()) {
            Verdict::Going => {}
            Verdict::Converged(text) => return Ok(Ended::Converged(text)),
            Verdict::Failed(why) => return Err(Error::Failed(why)),
        }
    }
}

type Stream = Streaming<v1::WatchServiceResponse>;

async fn next(
    stream: &mut Stream,
    ticks: &mut Interval,
    interrupted: Pin<&mut impl Future<Output = io::Result<()>>>,
) -> Event {
    tokio::select! {
        message = stream.message() => match message {
            Ok(Some(message)) => match read(message) {
                Ok(snapshot) => Event::Changed(Box::new(snapshot)),
                Err(error) => Event::Lost(error),
            },
            // The stream ends when the service and its tasks are gone.
            Ok(None) => Event::Changed(Box::new(Snapshot { service: None, tasks: Vec::new() })),
            Err(status) => Event::Lost(status.into()),
        },
        _ = ticks.tick() => Event::Tick,
        _ = interrupted => Event::Interrupted,
    }
}

fn read(message: v1::WatchServiceResponse) -> Result<Snapshot, Error> {
    let service = message.service.map(Service::try_from).transpose()?;
    Ok(Snapshot { service, tasks: object::task::all(message.tasks)? })
}

async fn open(wait: &Wait<'_>) -> Result<Stream, Error> {
    let daemon = Daemon::connect(wait.host).await?;
    let request = v1::GetServiceRequest { service: wait.service_id.to_owned() };
    Ok(daemon.control().watch_service(request).await?.into_inner())
}

/// The change is committed; a daemon that restarts meanwhile is no reason to give up on it.
async fn reopen(wait: &Wait<'_>, lost: Error, out: &mut Out) -> Result<Stream, Error> {
    if !is_passing(&lost) {
        return Err(lost);
    }
    out.note("lost the connection to the daemon; trying again");
    let give_up = Instant::now() + RECONNECT_MAX;
    loop {
        tokio::time::sleep(TICK).await;
        match open(wait).await {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < give_up => {}
            Err(error) => {
                return Err(Error::Failed(format!(
                    "lost the connection while waiting for service {name}: {error}; the change was accepted, watch it with \
                     `muster service ps {name}` once the daemon is back",
                    name = wait.name
                )));
            }
        }
    }
}

fn is_passing(error: &Error) -> bool {
    match error {
        Error::Refused(status) => status.code() == Code::Unavailable || is_transport(status),
        Error::Failed(_) | Error::Usage(_) | Error::Told | Error::BrokenPipe => false,
    }
}
