//! How this node reaches managers and other nodes: over TLS, under the identity that this node has at that moment.
//!
//! The protocol is agreed on in the handshake, and so is who must answer: any manager, or one node. It knows nothing of
//! what is said then.

use std::{io, time::Duration};

use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
use muster_agent::dial::{Dial, Stream};
use muster_manager::{
    ca::{Alpn, DialError, Expect, Keeper},
    connect::{self, Connect},
    raft::Peer,
};
use muster_proto::id::NodeId;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A peer whose host has died is noticed after the first and three of the second, or when nothing it was sent has been
/// taken for the third.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const UNANSWERED_MAX: Duration = Duration::from_secs(8);

#[derive(Clone, Debug)]
pub(super) struct Secured {
    keeper: Keeper,
}

impl Secured {
    pub(super) fn new(keeper: Keeper) -> Self {
        Self { keeper }
    }

    fn dial(
        &self,
        address: &str,
        expect: Expect,
        alpn: Alpn,
    ) -> impl Future<Output = io::Result<TlsStream<TcpStream>>> + Send + use<> {
        let (keeper, address) = (self.keeper.clone(), address.to_owned());
        async move {
            let stream = keeper.dial(&address, expect, alpn).await.map_err(as_io)?;
            let socket = SockRef::from(stream.get_ref().0);
            socket.set_tcp_keepalive(
                &TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL).with_retries(3),
            )?;
            socket.set_tcp_user_timeout(Some(UNANSWERED_MAX))?;
            Ok(stream)
        }
    }
}

/// The kind tells the agent whether trying another address at once makes sense; the sentence is for the log.
fn as_io(error: DialError) -> io::Error {
    let kind = match &error {
        DialError::Unreachable { source, .. } => source.kind(),
        DialError::TimedOut { .. } => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl Dial for Secured {
    fn manager(&self, address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        self.dial(address, Expect::AnyManager, Alpn::Grpc).map_ok(|stream| Box::new(stream) as Stream).boxed()
    }

    fn node(&self, node: NodeId, address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        self.dial(address, Expect::Node(node), Alpn::Relay).map_ok(|stream| Box::new(stream) as Stream).boxed()
    }
}

impl Connect for Secured {
    fn connect(&self, peer: &Peer) -> BoxFuture<'static, io::Result<connect::Stream>> {
        let stream = self.dial(&peer.address, Expect::Node(peer.node_id), Alpn::Grpc);
        stream.map_ok(|stream| Box::new(stream) as connect::Stream).boxed()
    }
}
