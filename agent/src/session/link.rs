//! One session with one manager. Everything that can wake it is one [`Event`]; the arms only take in, and what goes out
//! waits in a queue until the connection has room, heartbeats first and log lines last.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use muster_proto::v1::{
    self,
    agent_message::{Heartbeat, LogChunk, Message, Reports},
    manager_message,
};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use tonic::Status;
use tracing::info;

use super::{
    Sessions,
    delta::Delta,
    logs::Readers,
    open::{Opened, Refusal},
};

/// Statuses that follow one another faster go out together.
const REPORT_PAUSE: Duration = Duration::from_millis(5);
/// Report messages without an ack. Beyond it reports gather in the outbox.
const REPORTS_IN_FLIGHT_MAX: usize = 8;
/// Messages waiting for the connection; reports wait in the outbox instead.
const QUEUE_MAX: usize = 16;
/// Against a manager that asks for the impossible.
const PERIOD_MIN: Duration = Duration::from_millis(50);

/// A session that ended.
pub(super) struct Ended {
    pub(super) why: Refusal,
    /// It lasted longer than a lease.
    pub(super) was_stable: bool,
}

/// All that can wake a session.
enum Event {
    Heard(Result<Option<v1::ManagerMessage>, Status>),
    /// No word from the manager for longer than [`patience`].
    Silence,
    Beat,
    Described,
    Filled,
    ReportsDue,
    Log(LogChunk),
    MaySend,
    ConnectionLost,
}

pub(super) struct Link<'a> {
    sessions: &'a Sessions,
    out: mpsc::Sender<v1::AgentMessage>,
    queue: VecDeque<Message>,
    patience: Duration,
    acked_at: Instant,
    heartbeats: u64,
    /// When those were sent that have no answer yet, on the boot clock.
    beats_sent: BTreeMap<u64, Duration>,
    lease: Duration,
    reports: u64,
    reports_due: Option<Instant>,
    in_flight: BTreeSet<u64>,
    readers: Readers,
}

impl<'a> Link<'a> {
    pub(super) async fn serve(sessions: &'a Sessions, opened: Opened) -> Ended {
        let Opened { manager, out, mut inbound, welcome, mut description } = opened;
        let (began, lease) = (Instant::now(), Duration::from_millis(welcome.lease_ms));
        info!(%manager, "session begins");
        sessions.outbox.rewind();
        let (readers, mut chunks) = Readers::new(sessions.executor.clone(), sessions.directory.clone());
        let mut link = Self {
            sessions,
            out,
            queue: VecDeque::new(),
            patience: patience(lease),
            acked_at: Instant::now(),
            heartbeats: 0,
            beats_sent: BTreeMap::new(),
            lease,
            reports: 0,
            reports_due: Some(Instant::now()),
            in_flight: BTreeSet::new(),
            readers,
        };
        let mut beats = beats(Duration::from_millis(welcome.heartbeat_ms).max(PERIOD_MIN));
        let why = loop {
            let (reports_due, out) = (link.reports_due, link.out.clone());
            let may_report = link.in_flight.len() < REPORTS_IN_FLIGHT_MAX && link.queue.len() < QUEUE_MAX;
            let event = tokio::select! {
                heard = inbound.message() => Event::Heard(heard),
                () = sleep_until(link.acked_at + link.patience) => Event::Silence,
                _ = beats.tick() => Event::Beat,
                Ok(()) = description.changed() => Event::Described,
                () = sessions.outbox.filled() => Event::Filled,
                () = due(reports_due), if may_report => Event::ReportsDue,
                Some(chunk) = chunks.recv(), if link.queue.is_empty() => Event::Log(chunk),
                room = out.reserve(), if !link.queue.is_empty() => match room {
                    Ok(room) => {
                        room.send(v1::AgentMessage { message: link.queue.pop_front() });
                        Event::MaySend
                    }
                    Err(_closed) => Event::ConnectionLost,
                },
            };
            if let Err(refusal) = link.handle(event) {
                break refusal;
            }
        };
        Ended { why, was_stable: began.elapsed() > lease }
    }

    fn handle(&mut self, event: Event) -> Result<(), Refusal> {
        match event {
            Event::Heard(Ok(Some(message))) => self.hear(message)?,
            Event::Heard(Ok(None)) | Event::ConnectionLost => return Err("the manager ended the session".into()),
            Event::Heard(Err(status)) => return Err(status.into()),
            Event::Silence => {
                return Err(format!("no word from the manager for {} ms", self.patience.as_millis()).into());
            }
            Event::Beat => self.beat(None),
            Event::Described => {
                let description = v1::NodeDescription::from(&*self.sessions.description.borrow());
                self.beat(Some(description));
            }
            Event::Filled => {
                let soon = Instant::now() + REPORT_PAUSE;
                self.reports_due = Some(self.reports_due.map_or(soon, |due| due.min(soon)));
            }
            Event::ReportsDue => self.report(),
            Event::Log(chunk) => self.queue.push_back(Message::Log(chunk)),
            Event::MaySend => {}
        }
        Ok(())
    }

    fn beat(&mut self, description: Option<v1::NodeDescription>) {
        self.heartbeats += 1;
        self.beats_sent.insert(self.heartbeats, self.sessions.isolation.now());
        // One that still waits is merged into this one: the manager needs to hear once, and the newest description.
        let mut waiting = None;
        self.queue.retain_mut(|message| match message {
            Message::Heartbeat(earlier) => {
                waiting = earlier.description.take();
                false
            }
            Message::Hello(_) | Message::Reports(_) | Message::Log(_) => true,
        });
        let description = description.or(waiting);
        self.queue.push_front(Message::Heartbeat(Heartbeat { sequence: self.heartbeats, description }));
    }

    fn report(&mut self) {
        self.reports += 1;
        let (reports, later) = self.sessions.outbox.take(self.reports);
        self.reports_due = later;
        if reports.is_empty() {
            return;
        }
        self.in_flight.insert(self.reports);
        let reports = reports.iter().map(Into::into).collect();
        self.queue.push_back(Message::Reports(Reports { sequence: self.reports, reports }));
    }

    fn hear(&mut self, message: v1::ManagerMessage) -> Result<(), String> {
        match message.message {
            Some(manager_message::Message::Welcome(_)) => return Err("the manager welcomed this node twice".to_owned()),
            Some(manager_message::Message::HeartbeatAck(ack)) => {
                self.acked_at = Instant::now();
                // An answer to one answers those before it.
                let later = self.beats_sent.split_off(&(ack.sequence.saturating_add(1)));
                let answered = std::mem::replace(&mut self.beats_sent, later);
                if let Some(sent_at) = answered.get(&ack.sequence) {
                    self.sessions.isolation.renew(*sent_at, self.lease);
                }
            }
            Some(manager_message::Message::ReportsAck(ack)) => {
                self.acked_at = Instant::now();
                self.in_flight.remove(&ack.sequence);
                self.sessions.outbox.ack(ack.sequence);
            }
            Some(manager_message::Message::Assignments(assignments)) => {
                let heard_after = self.sessions.isolation.held();
                let delta =
                    Delta::hear(assignments, heard_after).map_err(|error| format!("assignments refused: {error}"))?;
                // A roster that is this far behind cannot write to its disk; the next session brings it all again.
                self.sessions.deltas.try_send(delta).map_err(|_full| "assignments cannot be taken in".to_owned())?;
            }
            Some(manager_message::Message::OpenLog(open)) => self.readers.open(open),
            Some(manager_message::Message::LogCredit(credit)) => self.readers.credit(credit.stream, credit.chunks),
            Some(manager_message::Message::CloseLog(close)) => self.readers.close(close.stream),
            Some(manager_message::Message::Orders(orders)) => self.sessions.take_orders(orders)?,
            // Of a later minor version; nothing that this one could do.
            None => {}
        }
        Ok(())
    }
}

/// How long a manager may say nothing. Of one that vanished without a word, or of a network that comes back, half a lease
/// is left to find the next.
fn patience(lease: Duration) -> Duration {
    (lease / 2).max(PERIOD_MIN)
}

/// Pending while nothing is due.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn beats(period: Duration) -> Interval {
    let mut beats = interval(period);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}
