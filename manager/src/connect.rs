//! How this manager reaches the others. The daemon gives it one [`Connect`]; certificates, names and sockets are its
//! affair, and it vouches that the other end is who was asked for.
//!
//! Called for Raft messages ([`crate::raft::grpc`]), for what is passed on to the leader ([`crate::forward`]), and to find
//! out who still runs ([`crate::recovery::alive`]).

use std::{fmt, future::Future, io, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, ready};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{
    codegen::http::Uri,
    transport::{Channel, Endpoint},
};

use crate::raft::Peer;

pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub type Stream = Box<dyn Duplex>;

pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// HTTP/2 to the manager of that very node.
    fn connect(&self, peer: &Peer) -> BoxFuture<'static, io::Result<Stream>>;
}

/// In the metadata of what a host without a manager answers: one that has a manager may answer otherwise.
pub const NO_MANAGER_METADATA: &str = "muster-no-manager";

/// Below the time after which an election is called: a first packet that is lost must not cost a second attempt.
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// A connection on which nothing comes back is given up; its calls have deadlines of their own.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Of a connection whose calls are short.
pub(crate) const SHORT_PING_MAX: Duration = Duration::from_secs(2);
/// Of one where a ping comes behind what else it carries.
pub(crate) const LONG_PING_MAX: Duration = Duration::from_secs(10);
/// Large messages, snapshots: a window that does not make them wait for a round trip each 64 KiB.
const WINDOW_BYTES: u32 = 2 << 20;

/// Connects with the first call, and again with the first after a break.
pub(crate) fn channel(connect: &Arc<dyn Connect>, peer: &Peer, ping_max: Duration) -> Channel {
    let (connect, peer) = (connect.clone(), peer.clone());
    let connector = tower::service_fn(move |_uri: Uri| connected(connect.connect(&peer)));
    endpoint(ping_max).connect_with_connector_lazy(connector)
}

/// Of a connection that there is, and no other after it.
pub(crate) fn channel_over(stream: Stream) -> Channel {
    let mut stream = Some(TokioIo::new(stream));
    let connector = tower::service_fn(move |_uri: Uri| {
        ready(stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    endpoint(SHORT_PING_MAX).connect_with_connector_lazy(connector)
}

fn endpoint(ping_max: Duration) -> Endpoint {
    Endpoint::from_static("http://manager")
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(ping_max)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
}

async fn connected(connecting: impl Future<Output = io::Result<Stream>>) -> io::Result<TokioIo<Stream>> {
    match tokio::time::timeout(CONNECT_MAX, connecting).await {
        Ok(stream) => stream.map(TokioIo::new),
        Err(_elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
    }
}
