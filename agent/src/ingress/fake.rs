//! For tests: nodes that reach each other's ingress without a network. What is written waits for a flush, as it may in
//! what encrypts.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use futures_util::{FutureExt, future::BoxFuture};
use muster_proto::id::NodeId;
use tokio::io::{BufWriter, duplex};

use super::Handle;
use crate::dial::{Dial, Stream};

/// Less than what the tests send, so that both ends wait for each other.
const WIRE_BYTES: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub(crate) enum Presence {
    Up(Handle),
    /// As a host without power.
    Silent,
}

/// The network. Who is not in it refuses connections.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    present: Mutex<BTreeMap<NodeId, Presence>>,
    dialled: Mutex<BTreeMap<NodeId, usize>>,
}

#[derive(Debug)]
struct Wires {
    nodes: Arc<Nodes>,
    from: NodeId,
}

impl Nodes {
    pub(crate) fn seen_from(self: &Arc<Self>, from: NodeId) -> Arc<dyn Dial> {
        Arc::new(Wires { nodes: self.clone(), from })
    }

    pub(crate) fn set(&self, node: NodeId, presence: Presence) {
        self.present.lock().expect("no panic holds it").insert(node, presence);
    }

    pub(crate) fn remove(&self, node: NodeId) {
        self.present.lock().expect("no panic holds it").remove(&node);
    }

    /// How often somebody tried to reach it.
    pub(crate) fn dialled(&self, node: NodeId) -> usize {
        self.dialled.lock().expect("no panic holds it").get(&node).copied().unwrap_or_default()
    }
}

impl Dial for Wires {
    fn manager(&self, _address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        async { Err(io::ErrorKind::ConnectionRefused.into()) }.boxed()
    }

    fn node(&self, node: NodeId, _address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        *self.nodes.dialled.lock().expect("no panic holds it").entry(node).or_default() += 1;
        let presence = self.nodes.present.lock().expect("no panic holds it").get(&node).cloned();
        let from = self.from;
        async move {
            match presence {
                None => Err(io::ErrorKind::ConnectionRefused.into()),
                Some(Presence::Silent) => std::future::pending().await,
                Some(Presence::Up(handle)) => {
                    let (near, far) = duplex(WIRE_BYTES);
                    handle.accept_relay(from, Box::new(BufWriter::new(far)));
                    Ok(Box::new(BufWriter::new(near)) as Stream)
                }
            }
        }
        .boxed()
    }
}
