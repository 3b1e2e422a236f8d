//! Where snapshots of a service come from: a stream of the daemon's, opened again when it breaks.
//!
//! A change that was accepted goes on whatever becomes of the daemon or the leader that accepted it, so their restarts
//! and elections are waited out. That the service is gone is told apart from that nobody can say.

use std::time::Duration;

use muster_proto::v1;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::{Code, Streaming};

use super::{verdict::Snapshot, watch::Wait};
use crate::{
    connect::Daemon,
    error::Error,
    object::{self, Service},
    out::Out,
};

/// Rules that count seconds need looking at without news too; and between two attempts to get through.
const TICK: Duration = Duration::from_millis(500);
/// A daemon that restarts, or managers that elect a leader, are back well within this.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Everything that can wake the wait.
pub(super) enum Event {
    Changed(Box<Snapshot>),
    Tick,
}

pub(super) struct Source<'a> {
    wait: &'a Wait<'a>,
    stream: Option<Streaming<v1::WatchServiceResponse>>,
    /// Since when nothing came of it.
    lost_at: Option<Instant>,
    /// For how long altogether nothing came.
    blind: Duration,
    ticks: Interval,
}

impl<'a> Source<'a> {
    pub(super) fn new(wait: &'a Wait<'a>) -> Self {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { wait, stream: None, lost_at: None, blind: Duration::ZERO, ticks }
    }

    pub(super) async fn next(&mut self, out: &mut Out) -> Result<Event, Error> {
        let Some(stream) = &mut self.stream else {
            self.ticks.tick().await;
            return match open(self.wait).await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    Ok(Event::Tick)
                }
                Err(error) => self.lost(error, out),
            };
        };
        tokio::select! {
            message = stream.message() => match message {
                Ok(Some(message)) => {
                    self.blind += self.lost_at.take().map_or(Duration::ZERO, |at| at.elapsed());
                    read(message).map(|snapshot| Event::Changed(Box::new(snapshot)))
                }
                // It ends when the service and its tasks are gone, and when who told it is: asked again, they say which.
                Ok(None) => {
                    self.stream = None;
                    self.lost_at.get_or_insert_with(Instant::now);
                    Ok(Event::Tick)
                }
                Err(status) => self.lost(status.into(), out),
            },
            _ = self.ticks.tick() => Ok(Event::Tick),
        }
    }

    /// For how long the service has been watched. None while nobody can say how it is now: what was seen last proves
    /// nothing then, neither that it lasts nor that it does not.
    pub(super) fn watched(&self, began: Instant) -> Option<Duration> {
        self.lost_at.is_none().then(|| began.elapsed().saturating_sub(self.blind))
    }

    fn lost(&mut self, error: Error, out: &mut Out) -> Result<Event, Error> {
        self.stream = None;
        if error.code() == Some(Code::NotFound) {
            self.lost_at = None;
            return Ok(Event::Changed(Box::new(Snapshot { service: None, tasks: Vec::new() })));
        }
        // A connection that is refused is the daemon's, which restarts.
        if !error.is_passing() && !matches!(error, Error::Failed(_)) {
            return Err(error);
        }
        match self.lost_at {
            None => {
                self.lost_at = Some(Instant::now());
                out.note("lost sight of the service, the daemon or the leader is gone; trying again");
                Ok(Event::Tick)
            }
            Some(at) if at.elapsed() < SILENCE_MAX => Ok(Event::Tick),
            Some(_) => Err(Error::Failed(format!(
                "lost the connection while waiting for service {name}: {error}; the change was accepted, watch it with \
                 `muster service ps {name}` once the daemon is back",
                name = self.wait.name
            ))),
        }
    }
}

fn read(message: v1::WatchServiceResponse) -> Result<Snapshot, Error> {
    let service = message.service.map(Service::try_from).transpose()?;
    Ok(Snapshot { service, tasks: object::task::all(message.tasks)? })
}

async fn open(wait: &Wait<'_>) -> Result<Streaming<v1::WatchServiceResponse>, Error> {
    let daemon = Daemon::connect(wait.host).await?;
    let request = v1::GetServiceRequest { service: wait.service_id.to_owned() };
    Ok(daemon.control().watch_service(request).await?.into_inner())
}
