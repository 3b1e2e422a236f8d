//! Managers over loopback, in the clear; nodes without any network.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use futures_util::{FutureExt, future::BoxFuture};
use muster_agent::{
    Handle,
    dial::{Dial, Stream},
};
use muster_proto::id::NodeId;
use tokio::{io::duplex, net::TcpStream};

const WIRE_BYTES: usize = 16 * 1024;

/// The agents that reach each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nodes(Arc<Mutex<BTreeMap<NodeId, Handle>>>);

impl Nodes {
    pub(crate) fn join(&self, node: NodeId, agent: Handle) {
        self.0.lock().unwrap().insert(node, agent);
    }

    pub(crate) fn seen_from(&self, from: NodeId) -> Arc<dyn Dial> {
        Arc::new(Clear { nodes: self.clone(), from })
    }
}

#[derive(Debug)]
struct Clear {
    nodes: Nodes,
    from: NodeId,
}

impl Dial for Clear {
    fn manager(&self, address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        let address = address.to_owned();
        async move { TcpStream::connect(address).await.map(|stream| Box::new(stream) as Stream) }.boxed()
    }

    fn node(&self, node: NodeId, _address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        let agent = self.nodes.0.lock().unwrap().get(&node).cloned();
        let from = self.from;
        async move {
            let agent = agent.ok_or(io::ErrorKind::ConnectionRefused)?;
            let (near, far) = duplex(WIRE_BYTES);
            agent.accept_relay(from, Box::new(far));
            Ok(Box::new(near) as Stream)
        }
        .boxed()
    }
}
