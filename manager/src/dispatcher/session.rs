//! One session: a loop over everything that can happen to it. The arms only take in; what goes out is put into the
//! [`Outbox`] and leaves when the connection has room, so that a slow connection never delays a heartbeat.

use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use muster_core::{
    assign,
    command::{Command, Outcome},
    rejection::Rejection,
    state::State,
};
use muster_proto::{
    assignment::TaskReport,
    convert::ConvertError,
    id::NodeId,
    node::{NodeDescription, NodeOrders},
    v1::{self, agent_message, manager_message::Welcome},
};
use prost::Message as _;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};
use tonic::Status;
use tracing::{debug, info};

use super::{
    diff::View,
    held::Held,
    hello,
    log_streams::{LogStreams, Request},
    outbox::Outbox,
    sessions::Seated,
};
use crate::{
    leadership::Leadership,
    leases::{Leases, Terms},
    manager::Handle,
    pace::Pace,
    raft::backing::Backing,
    replica::{ProposeError, Replica},
    reports::ReportBatcher,
    status,
    streams::{Streams, stopping},
};

/// Changes that follow one another faster reach a node together.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Messages of one agent on their way to the log, and acknowledgements on their way back. Beyond it the session stops
/// listening: an agent that reports faster than the log takes it is slowed down by its own connection.
const UNSETTLED_MAX: usize = 64;
/// An agent that says nothing for this long has gone without the connection's end being seen. Its lease ran out long
/// before; this frees what the session holds.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A description goes into the log; one that is longer is no description.
const DESCRIPTION_BYTES_MAX: usize = 64 << 10;

pub(super) struct Session {
    node: NodeId,
    replica: Replica,
    leases: Leases,
    backing: Backing,
    batcher: ReportBatcher,
    streams: Streams,
    seated: Seated,
    /// Where others reach the node, as it says itself.
    address: String,
    /// What the node's description is at that address, or will be once what was proposed is applied.
    described: Option<NodeDescription>,
    told: Option<View>,
    orders: NodeOrders,
    /// As the agent was told; it counts on them for as long as this session lasts.
    terms: Terms,
    outbox: Outbox,
    held: Held,
    /// In the order they came.
    unsettled: FuturesOrdered<BoxFuture<'static, Result<Settled, ProposeError>>>,
    logs: LogStreams,
    pace: Pace,
}

/// An agent's message that is in the log.
enum Settled {
    Description(Outcome),
    Reports { sequence: u64 },
}

/// All that can wake a session.
enum Event {
    Stopping,
    Replaced,
    LeadershipLost(Leadership),
    Heard(Option<Result<Box<v1::AgentMessage>, Status>>),
    Settled(Result<Settled, ProposeError>),
    /// This manager led when the heartbeat came that is waited for.
    Led,
    Look,
    LogRequest(Request),
    LogAbandoned(v1::manager_message::Message),
    MaySend,
    ConnectionLost,
    Silent,
}

impl Session {
    pub(super) fn begin(
        handle: &Handle,
        node: NodeId,
        address: String,
        description: Option<v1::NodeDescription>,
    ) -> Result<Self, Status> {
        let replica = handle.replica.clone();
        let (welcome, orders, terms) = replica.read(|state| welcome(state, node))?;
        let mut session = Self {
            node,
            leases: handle.leases.clone(),
            backing: handle.backing.clone(),
            batcher: handle.reports.clone(),
            streams: handle.streams.clone(),
            seated: handle.sessions.take_seat(node),
            described: replica.read(|state| {
                let known = state.node(node).filter(|node| node.address == address);
                known.and_then(|node| node.description.clone())
            }),
            address,
            told: None,
            orders,
            terms,
            outbox: Outbox::new(welcome),
            held: Held::default(),
            unsettled: FuturesOrdered::new(),
            logs: LogStreams::default(),
            pace: Pace::new(replica.watch(), LOOK_INTERVAL, move |touched| {
                touched.ingress || touched.orders || touched.nodes.contains(&node)
            }),
            replica,
        };
        session.describe(description)?;
        session.leases.renew(node, terms.lease);
        Ok(session)
    }

    /// Ends when either side does. What is unsettled then comes again with the agent's next session.
    pub(super) async fn run(
        mut self,
        inbound: impl Stream<Item = Result<v1::AgentMessage, Status>> + Unpin + Send,
        out: mpsc::Sender<Result<v1::ManagerMessage, Status>>,
    ) {
        info!(node = %self.node, "session begins");
        match self.serve(inbound, &out).await {
            Ok(()) => info!(node = %self.node, "session ended by the agent"),
            Err(why) => {
                info!(node = %self.node, reason = why.message(), "session ends");
                if out.try_send(Err(why)).is_err() {
                    debug!(node = %self.node, "the agent was not told why: its connection is gone or full");
                }
            }
        }
    }

    async fn serve(
        &mut self,
        mut inbound: impl Stream<Item = Result<v1::AgentMessage, Status>> + Unpin + Send,
        out: &mpsc::Sender<Result<v1::ManagerMessage, Status>>,
    ) -> Result<(), Status> {
        let mut leadership = self.replica.leadership();
        let mut silent_at = Instant::now() + SILENCE_MAX;
        loop {
            let event = tokio::select! {
                () = self.streams.stop().cancelled() => Event::Stopping,
                () = self.seated.replaced.cancelled() => Event::Replaced,
                now = lost(&mut leadership) => Event::LeadershipLost(now),
                heard = timeout_at(silent_at, inbound.next()), if self.may_listen() => {
                    heard.map_or(Event::Silent, |heard| Event::Heard(heard.map(|heard| heard.map(Box::new))))
                }
                () = led_at(&self.backing, self.held.moment()) => Event::Led,
                Some(settled) = self.unsettled.next() => Event::Settled(settled),
                () = self.pace.changed(), if self.outbox.may_take_delta() => Event::Look,
                Some(request) = self.seated.log_requests.recv(), if self.outbox.may_take_log() => {
                    Event::LogRequest(request)
                }
                message = self.logs.abandoned(), if self.outbox.may_take_log() => Event::LogAbandoned(message),
                room = out.reserve(), if !self.outbox.is_empty() => match room {
                    Ok(room) => {
                        if let Some(message) = self.outbox.next() {
                            room.send(Ok(message));
                        }
                        Event::MaySend
                    }
                    Err(_closed) => Event::ConnectionLost,
                },
            };
            match event {
                Event::Stopping => return Err(stopping()),
                Event::Replaced => return Err(Status::aborted("the node has a newer session")),
                Event::LeadershipLost(now) => return Err(status::not_leading(&now)),
                Event::Heard(None) | Event::ConnectionLost => return Ok(()),
                Event::Heard(Some(message)) => {
                    silent_at = Instant::now() + SILENCE_MAX;
                    self.hear(*message?)?;
                }
                Event::Silent => return Err(Status::deadline_exceeded("the agent fell silent")),
                Event::Settled(settled) => self.settle(settled)?,
                Event::Led => self.held.release().into_iter().for_each(|sequence| self.outbox.ack_heartbeat(sequence)),
                Event::Look => self.look()?,
                Event::LogRequest(request) => {
                    self.logs.asked(request).into_iter().for_each(|message| self.outbox.put_log(message));
                }
                Event::LogAbandoned(message) => self.outbox.put_log(message),
                Event::MaySend => {}
            }
        }
    }

    fn may_listen(&self) -> bool {
        self.unsettled.len() + self.outbox.reports_acks() < UNSETTLED_MAX
    }

    fn hear(&mut self, message: v1::AgentMessage) -> Result<(), Status> {
        match message.message {
            Some(agent_message::Message::Hello(_)) => Err(Status::invalid_argument("a session has one Hello")),
            Some(agent_message::Message::Heartbeat(heartbeat)) => {
                self.leases.renew(self.node, self.terms.lease);
                self.held.hold(heartbeat.sequence, Instant::now());
                self.describe(heartbeat.description)
            }
            Some(agent_message::Message::Reports(reports)) => self.report(reports),
            Some(agent_message::Message::Log(chunk)) => {
                self.logs.heard(chunk).into_iter().for_each(|message| self.outbox.put_log(message));
                Ok(())
            }
            // A message of a later minor version; it asks for nothing that this one could do.
            None => Ok(()),
        }
    }

    /// Proposes what differs from what is known; heartbeats that say nothing new cost no log entry.
    fn describe(&mut self, description: Option<v1::NodeDescription>) -> Result<(), Status> {
        let Some(description) = description else { return Ok(()) };
        if description.encoded_len() > DESCRIPTION_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "the node's description takes more than {} KiB; remove labels from its engine",
                DESCRIPTION_BYTES_MAX >> 10
            )));
        }
        let description = NodeDescription::try_from(description).map_err(|error| status::malformed(&error))?;
        if self.described.as_ref() == Some(&description) {
            return Ok(());
        }
        self.described = Some(description.clone());
        let (replica, id, address) = (self.replica.clone(), self.node, self.address.clone());
        self.unsettled.push_back(
            async move {
                let command = Command::DescribeNode { id, description: Box::new(description), address };
                replica.propose(command).await.map(Settled::Description)
            }
            .boxed(),
        );
        Ok(())
    }

    fn report(&mut self, message: agent_message::Reports) -> Result<(), Status> {
        let reports: Result<Vec<TaskReport>, ConvertError> =
            message.reports.into_iter().map(TaskReport::try_from).collect();
        let reports = reports.map_err(|error| status::malformed(&error))?;
        let (batcher, node, sequence) = (self.batcher.clone(), self.node, message.sequence);
        self.unsettled.push_back(
            async move { batcher.submit(node, reports).await.map(|()| Settled::Reports { sequence }) }.boxed(),
        );
        Ok(())
    }

    /// A manager that could not commit a message ends the session: the agent sends it again in the next.
    fn settle(&mut self, settled: Result<Settled, ProposeError>) -> Result<(), Status> {
        match settled.map_err(|error| status::unproposed(&error))? {
            Settled::Description(outcome) => status::accepted(outcome).map(|_version| ()),
            Settled::Reports { sequence } => {
                self.outbox.ack_reports(sequence);
                Ok(())
            }
        }
    }

    fn look(&mut self) -> Result<(), Status> {
        let node = self.node;
        let (next, orders, terms) = self
            .replica
            .read(|state| assign::orders(state, node).map(|orders| (View::of(state, node), orders, terms(state))))
            .ok_or_else(|| hello::not_a_member(node))?;
        if terms != Some(self.terms) {
            return Err(Status::aborted(
                "the cluster's heartbeat or lease has changed; the next session begins with them",
            ));
        }
        if orders != self.orders {
            self.outbox.put_orders(&orders);
            self.orders = orders;
        }
        let delta = match &self.told {
            None => Some(next.whole()),
            Some(told) => told.delta_to(&next),
        };
        self.told = Some(next);
        delta.into_iter().for_each(|delta| self.outbox.put_delta(delta));
        Ok(())
    }
}

/// Pending while no heartbeat waits.
async fn led_at(backing: &Backing, moment: Option<Instant>) {
    match moment {
        Some(moment) => backing.at(moment).await,
        None => std::future::pending().await,
    }
}

/// Returns once this manager does not lead.
async fn lost(leadership: &mut watch::Receiver<Leadership>) -> Leadership {
    match leadership.wait_for(|now| now.leading().is_none()).await {
        Ok(now) => now.clone(),
        Err(_closed) => Leadership::Nobody,
    }
}

fn terms(state: &State) -> Option<Terms> {
    state.cluster().map(|cluster| Terms::from(&cluster.spec))
}

fn welcome(state: &State, node: NodeId) -> Result<(Welcome, NodeOrders, Terms), Status> {
    let cluster = state.cluster().ok_or_else(|| status::rejected(&Rejection::NoCluster))?;
    let terms = Terms::from(&cluster.spec);
    let orders = assign::orders(state, node).ok_or_else(|| hello::not_a_member(node))?;
    let welcome = Welcome {
        heartbeat_ms: millis(terms.heartbeat),
        lease_ms: millis(terms.lease),
        orders: Some((&orders).into()),
        incarnation: cluster.incarnation,
    };
    Ok((welcome, orders, terms))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
