//! Everything in the clear, over loopback.

use std::io;

use futures_util::{FutureExt, future::BoxFuture};
use muster_agent::dial::{Dial, Stream};
use muster_proto::id::NodeId;
use tokio::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Clear;

fn connect(address: &str) -> BoxFuture<'static, io::Result<Stream>> {
    let address = address.to_owned();
    async move { TcpStream::connect(address).await.map(|stream| Box::new(stream) as Stream) }.boxed()
}

impl Dial for Clear {
    fn manager(&self, address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        connect(address)
    }

    fn node(&self, _node: NodeId, address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        connect(address)
    }
}
