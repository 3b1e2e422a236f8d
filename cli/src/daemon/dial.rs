//! How this node reaches managers and other nodes: over TLS, under the identity that this node has at that moment.
//!
//! The protocol is agreed on in the handshake, and so is who must answer: any manager, or one node. It knows nothing of
//! what is said then.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
use muster_agent::dial::{Dial, Stream};
use muster_manager::{
    ca::{Alpn, DialError, Expect, Keeper},
    connect::{self, Connect},
    raft::Peer,
};
use muster_proto::id::NodeId;
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_rustls::client::TlsStream;

use super::relayed::Relayed;

/// Handshakes under way with one node, for clients. When it comes back all its clients come at once, and it lets only so
/// many in that have not said yet who they are: the others wait here instead of pushing each other out there.
const HANDSHAKES_MAX: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Secured {
    keeper: Keeper,
    handshakes: Handshakes,
}

/// The places of each node that is being dialled.
#[derive(Clone, Debug, Default)]
struct Handshakes(Arc<Mutex<BTreeMap<NodeId, Weak<Semaphore>>>>);

impl Handshakes {
    fn with(&self, node: NodeId) -> Arc<Semaphore> {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = nodes.get(&node).and_then(Weak::upgrade) {
            return places;
        }
        nodes.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        nodes.insert(node, Arc::downgrade(&places));
        places
    }
}

impl Secured {
    pub(super) fn new(keeper: Keeper) -> Self {
        Self { keeper, handshakes: Handshakes::default() }
    }

    fn dial(
        &self,
        address: &str,
        expect: Expect,
        alpn: Alpn,
    ) -> impl Future<Output = io::Result<TlsStream<TcpStream>>> + Send + use<> {
        let (keeper, address) = (self.keeper.clone(), address.to_owned());
        async move { keeper.dial(&address, expect, alpn).await.map_err(as_io) }
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
        let (places, address) = (self.handshakes.with(node), address.to_owned());
        let this = self.clone();
        async move {
            let _place = places.acquire_owned().await.map_err(io::Error::other)?;
            let stream = this.dial(&address, Expect::Node(node), Alpn::Relay).await?;
            Ok(Box::new(Relayed::new(stream)?) as Stream)
        }
        .boxed()
    }
}

impl Connect for Secured {
    fn connect(&self, peer: &Peer) -> BoxFuture<'static, io::Result<connect::Stream>> {
        let stream = self.dial(&peer.address, Expect::Node(peer.node_id), Alpn::Grpc);
        stream.map_ok(|stream| Box::new(stream) as connect::Stream).boxed()
    }
}
