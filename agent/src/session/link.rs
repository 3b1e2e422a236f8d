//! One session with one manager. Everything that can wake it is one [`Event`]; the arms only take in, and what goes out
//! waits in a queue until the connection has room, heartbeats first and log lines last.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    error::Error as _,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use muster_proto::{
    assignment::{AGENT_MESSAGE_BYTES_MAX, LEADER_METADATA, MANAGER_MESSAGE_BYTES_MAX, SESSION_PROTOCOL},
    node::NodeOrders,
    v1::{
        self,
        agent_message::{Heartbeat, Hello, LogChunk, Message, Reports},
        dispatcher_client::DispatcherClient,
        manager_message::{self, Welcome},
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;
use tracing::info;

use super::{Sessions, candidates::Tried, delta::Delta, logs::Readers};

/// To open a connection, and again to be welcomed on it. Longer, and another manager is asked sooner.
const OPEN_MAX: Duration = Duration::from_secs(2);
/// Statuses that follow one another faster go out together.
const REPORT_PAUSE: Duration = Duration::from_millis(5);
/// Report messages without an ack. Beyond it reports gather in the outbox.
const REPORTS_IN_FLIGHT_MAX: usize = 8;
/// Messages handed to the connection that it has not sent. Few: what waits behind them can still be put in order.
const OUT_MAX: usize = 4;
/// Messages waiting for the connection; reports wait in the outbox instead.
const QUEUE_MAX: usize = 16;
/// Against a manager that asks for the impossible.
const PERIOD_MIN: Duration = Duration::from_millis(50);

pub(super) struct Ended {
    pub(super) how: Tried,
    pub(super) why: String,
}

/// Why there is no session, or none any more.
struct Refusal {
    why: String,
    /// Where to go instead.
    leader: Option<String>,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, leader: None }
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let leader = status.metadata().get(LEADER_METADATA).and_then(|leader| leader.to_str().ok()).map(str::to_owned);
        Self { why: told(&status), leader }
    }
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
    pub(super) async fn serve(sessions: &'a Sessions, manager: &str) -> Ended {
        let mut description = sessions.description.clone();
        // The greeting carries what is known by then; whatever changes from here on is told in the session.
        description.mark_unchanged();
        let opened = timeout(OPEN_MAX * 2, open(sessions, manager)).await;
        let (out, mut inbound, welcome) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(Refusal { why, leader: Some(leader) })) => return Ended { how: Tried::Redirected { leader }, why },
            Ok(Err(Refusal { why, leader: None })) => return Ended { how: Tried::Refused, why },
            Err(_elapsed) => return Ended { how: Tried::Refused, why: "no answer in time".to_owned() },
        };
        info!(%manager, "session begins");
        sessions.outbox.rewind();
        let (readers, mut chunks) = Readers::new(sessions.executor.clone(), sessions.directory.clone());
        let mut link = Self {
            sessions,
            out,
            queue: VecDeque::new(),
            patience: patience(Duration::from_millis(welcome.lease_ms)),
            acked_at: Instant::now(),
            heartbeats: 0,
            beats_sent: BTreeMap::new(),
            lease: Duration::from_millis(welcome.lease_ms),
            reports: 0,
            reports_due: Some(Instant::now()),
            in_flight: BTreeSet::new(),
            readers,
        };
        let mut beats = beats(Duration::from_millis(welcome.heartbeat_ms).max(PERIOD_MIN));
        let Refusal { why, leader } = loop {
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
        Ended { how: Tried::Served { leader }, why }
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
                let delta = Delta::try_from(assignments).map_err(|error| format!("assignments refused: {error}"))?;
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

/// How long a manager may say nothing. Shorter than the lease, so that of a manager that vanished without a word a third
/// of it is left to find the next one.
fn patience(lease: Duration) -> Duration {
    (lease / 3 * 2).max(PERIOD_MIN)
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

type Opened = (mpsc::Sender<v1::AgentMessage>, Streaming<v1::ManagerMessage>, Welcome);

async fn open(sessions: &Sessions, manager: &str) -> Result<Opened, Refusal> {
    let channel = connect(sessions, manager).await?;
    let mut client = DispatcherClient::new(channel)
        .max_decoding_message_size(MANAGER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(AGENT_MESSAGE_BYTES_MAX);
    let (out, outbound) = mpsc::channel(OUT_MAX);
    let hello = Hello {
        cluster_id: sessions.identity.cluster_id.to_string(),
        node_id: sessions.identity.node_id.to_string(),
        description: Some((&*sessions.description.borrow()).into()),
        protocol: SESSION_PROTOCOL,
        incarnation: sessions.acquaintance.incarnation(),
        advertise_addr: sessions.advertise_addr.clone(),
    };
    let sent_at = sessions.isolation.now();
    let hello = v1::AgentMessage { message: Some(Message::Hello(hello)) };
    out.try_send(hello).map_err(|_full| "no room for a greeting".to_owned())?;
    let mut inbound = client.session(ReceiverStream::new(outbound)).await?.into_inner();
    match inbound.message().await?.and_then(|message| message.message) {
        Some(manager_message::Message::Welcome(mut welcome)) => {
            sessions.meet(&mut welcome)?;
            sessions.isolation.renew(sent_at, Duration::from_millis(welcome.lease_ms));
            Ok((out, inbound, welcome))
        }
        Some(_) | None => Err("the manager did not welcome this node".into()),
    }
}

impl Sessions {
    fn meet(&self, welcome: &mut Welcome) -> Result<(), String> {
        let (seen, now) = (self.acquaintance.incarnation(), welcome.incarnation);
        if now < seen {
            return Err(format!(
                "the manager was left behind when the cluster was recovered (its incarnation is {now}, this node has \
                 seen {seen}); run `muster leave --force` there and join it again"
            ));
        }
        self.acquaintance.meet(now);
        welcome.orders.take().map_or(Ok(()), |orders| self.take_orders(orders))
    }

    fn take_orders(&self, orders: v1::NodeOrders) -> Result<(), String> {
        let orders = NodeOrders::try_from(orders).map_err(|error| format!("orders refused: {error}"))?;
        self.acquaintance.ordered(orders);
        Ok(())
    }
}

async fn connect(sessions: &Sessions, manager: &str) -> Result<Channel, String> {
    // To HTTP the connection is one in the clear: what protects it is beneath, and the daemon's.
    let endpoint = Endpoint::from_shared(format!("http://{manager}"))
        .map_err(|_invalid| format!("{manager} is no address of a manager"))?
        .connect_timeout(OPEN_MAX);
    let (dial, address) = (sessions.dial.clone(), manager.to_owned());
    let connector = service_fn(move |_uri: Uri| {
        let dialled = dial.manager(&address);
        async move { dialled.await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await.map_err(|error| format!("no connection: {}", chain(&error)))
}

/// tonic says "transport error" and leaves the reason to the sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn told(status: &Status) -> String {
    match status.source() {
        Some(source) => chain(source),
        None => status.message().to_owned(),
    }
}
