//! How this node reaches others. The daemon gives the agent one [`Dial`]; certificates, names and sockets are its
//! affair.
//!
//! Called by the session (a manager) and by the ingress (the node of a task that runs elsewhere). Whoever implements it
//! vouches for two things: the other end is who was asked for, and a peer whose host has died is noticed, so that a
//! stream to it breaks within seconds and not with the next keep-alive of the kernel.

use std::{fmt, io};

use futures_util::future::BoxFuture;
use muster_proto::id::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes both ways. Shutting the sending half down is seen by the other end as an end, and its absence as a break.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub type Stream = Box<dyn Duplex>;

pub trait Dial: fmt::Debug + Send + Sync {
    /// HTTP/2 to any manager of this cluster, whichever it is that answers at `address`.
    fn manager(&self, address: &str) -> BoxFuture<'static, io::Result<Stream>>;

    /// To the agent of that very node, for one connection to one of its tasks.
    fn node(&self, node: NodeId, address: &str) -> BoxFuture<'static, io::Result<Stream>>;
}
