//! From a manager's address to a session with it: the connection, the greeting, and what the manager says first.

use std::{error::Error as _, time::Duration};

use hyper_util::rt::TokioIo;
use muster_proto::{
    assignment::{AGENT_MESSAGE_BYTES_MAX, LEADER_METADATA, MANAGER_MESSAGE_BYTES_MAX, SESSION_PROTOCOL},
    node::{NodeDescription, NodeOrders},
    v1::{
        self,
        agent_message::{Hello, Message},
        dispatcher_client::DispatcherClient,
        manager_message::{self, Welcome},
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use super::Sessions;

/// For a connection to be there, and again to be welcomed on it. Others are asked meanwhile; this allows for a packet
/// that is lost, and for an election, during which a manager holds its answer.
const OPEN_MAX: Duration = Duration::from_secs(2);
/// Messages handed to the connection that it has not sent. Few: what waits behind them can still be put in order.
const OUT_MAX: usize = 4;

/// Why there is no session, or none any more.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) why: String,
    pub(super) by: By,
    /// Where to go instead.
    pub(super) leader: Option<String>,
}

/// Whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Manager,
    /// This node's own: nothing was heard of the manager, or nothing that it could use.
    Node,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, by: By::Node, leader: None }
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
        let by = if status.source().is_none() { By::Manager } else { By::Node };
        Self { why: told(&status), by, leader }
    }
}

pub(super) struct Opened {
    pub(super) manager: String,
    pub(super) out: mpsc::Sender<v1::AgentMessage>,
    pub(super) inbound: Streaming<v1::ManagerMessage>,
    pub(super) welcome: Welcome,
    /// What changed of it since the greeting is yet to be told.
    pub(super) description: watch::Receiver<NodeDescription>,
}

/// None: it does not answer.
pub(super) async fn connect(sessions: &Sessions, manager: &str) -> Option<Result<Channel, Refusal>> {
    let connected = timeout(OPEN_MAX, channel(sessions, manager)).await.ok()?;
    Some(connected.map_err(Refusal::from))
}

/// None: it does not answer.
pub(super) async fn greet(sessions: &Sessions, manager: &str, channel: Channel) -> Option<Result<Opened, Refusal>> {
    timeout(OPEN_MAX, welcomed(sessions, manager, channel)).await.ok()
}

async fn welcomed(sessions: &Sessions, manager: &str, channel: Channel) -> Result<Opened, Refusal> {
    let mut client = DispatcherClient::new(channel)
        .max_decoding_message_size(MANAGER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(AGENT_MESSAGE_BYTES_MAX);
    let (out, outbound) = mpsc::channel(OUT_MAX);
    let mut description = sessions.description.clone();
    description.mark_unchanged();
    let hello = Hello {
        cluster_id: sessions.identity.cluster_id.to_string(),
        node_id: sessions.identity.node_id.to_string(),
        description: Some((&*description.borrow()).into()),
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
            Ok(Opened { manager: manager.to_owned(), out, inbound, welcome, description })
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

    pub(super) fn take_orders(&self, orders: v1::NodeOrders) -> Result<(), String> {
        let orders = NodeOrders::try_from(orders).map_err(|error| format!("orders refused: {error}"))?;
        self.acquaintance.ordered(orders);
        Ok(())
    }
}

async fn channel(sessions: &Sessions, manager: &str) -> Result<Channel, String> {
    // To HTTP the connection is one in the clear: what protects it is beneath, and the daemon's.
    let endpoint = Endpoint::from_shared(format!("http://{manager}"))
        .map_err(|_invalid| format!("{manager} is no address of a manager"))?;
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
