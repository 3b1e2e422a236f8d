//! How a host is reached that is no node yet. Other managers are reached by the transport, and by what the daemon gives
//! as [`crate::connect::Connect`].

use std::{fmt::Debug, io};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::net::TcpStream;

use crate::connect::Stream;

pub trait Network: Debug + Send + Sync + 'static {
    /// To `host:port`, in the clear.
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Stream>>;
}

/// The host's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostNetwork;

impl Network for HostNetwork {
    fn connect(&self, address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        let address = address.to_owned();
        async move { TcpStream::connect(address).await.map(|stream| Box::new(stream) as Stream) }.boxed()
    }
}
