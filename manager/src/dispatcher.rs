//! The managers' end of the agents' sessions.
//!
//! One session a node: the node's assignments and ingress go out (the whole set, then differences), heartbeats renew
//! its lease, its reports go to the log. Called by agents over gRPC; calls the replica, the leases and the report
//! batcher. Only the leader takes sessions. Deliberately absent: what a node should know ([`muster_core::assign`]) and
//! what follows from what it says.

mod diff;
mod held;
mod hello;
pub(crate) mod log_streams;
mod outbox;
mod session;
pub(crate) mod sessions;

use std::{pin::Pin, time::Duration};

use futures_util::Stream;
use muster_proto::{
    assignment::{AGENT_MESSAGE_BYTES_MAX, MANAGER_MESSAGE_BYTES_MAX},
    v1::{
        self, agent_message,
        dispatcher_server::{self, DispatcherServer},
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{ca, manager::Handle, status};

/// From the call to the agent's first message. A connection that says nothing holds a place no longer than this.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// Messages between a session and its connection; what does not fit waits in the outbox, where it stays fresh.
const OUT_MAX: usize = 4;

impl Handle {
    /// To be served under mutual TLS, to the nodes.
    #[must_use]
    pub fn dispatcher(&self) -> DispatcherServer<Dispatcher> {
        DispatcherServer::new(Dispatcher { handle: self.clone() })
            .max_decoding_message_size(AGENT_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MANAGER_MESSAGE_BYTES_MAX)
    }
}

#[derive(Debug)]
pub struct Dispatcher {
    handle: Handle,
}

#[tonic::async_trait]
impl dispatcher_server::Dispatcher for Dispatcher {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::ManagerMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let peer = ca::peer(&request)?;
        let place = self.handle.streams.admit()?;
        let mut inbound = request.into_inner();
        let hello = first_message(&mut inbound).await?;
        // Refused here unless this manager leads; and a node that was just made is known once its making is applied.
        self.handle.replica.barrier().await.map_err(|error| status::unproposed(&error))?;
        let (node, address) = self.handle.replica.read(|state| {
            let node = hello::check(&hello, &peer, state)?;
            Ok::<_, Status>((node, hello::address(&hello, node, state)?))
        })?;
        let (out, outbound) = mpsc::channel(OUT_MAX);
        let session = session::Session::begin(&self.handle, node, address, hello.description)?;
        self.handle.streams.spawn(async move {
            session.run(inbound, out).await;
            drop(place);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outbound))))
    }
}

async fn first_message(inbound: &mut Streaming<v1::AgentMessage>) -> Result<agent_message::Hello, Status> {
    let first = timeout_at(Instant::now() + HELLO_DEADLINE, inbound.message())
        .await
        .map_err(|_elapsed| Status::deadline_exceeded("the agent did not say who it is in time"))??;
    match first.and_then(|message| message.message) {
        Some(agent_message::Message::Hello(hello)) => Ok(hello),
        Some(
            agent_message::Message::Heartbeat(_) | agent_message::Message::Reports(_) | agent_message::Message::Log(_),
        )
        | None => Err(Status::invalid_argument("a session begins with Hello")),
    }
}
