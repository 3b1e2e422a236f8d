//! Connections to other nodes, secured: the only way in which this one opens any.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use muster_proto::{
    id::{ClusterId, NodeId},
    trust::Digest,
};
use rustls::{ClientConfig, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};

use super::{Alpn, CaError, DialError, Keeper, keeper, manager_name, node_name, pinned::PinnedRoot};

/// From the first packet to a secured connection. A node that does not answer within it is tried again or given up.
pub const DIAL_MAX: Duration = Duration::from_secs(5);
/// A connection whose other end has gone silently is noticed after one of these and its timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The same without HTTP/2: after the first and so many of the second, or when nothing that was sent has been taken for
/// the last.
const TCP_KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const TCP_KEEPALIVE_RETRIES: u32 = 3;
const TCP_UNANSWERED_MAX: Duration = Duration::from_secs(8);

/// Whom a connection must lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    AnyManager,
    Node(NodeId),
}

impl Expect {
    fn server_name(self, cluster: ClusterId) -> Result<ServerName<'static>, CaError> {
        let name = match self {
            Self::AnyManager => manager_name(cluster),
            Self::Node(node) => node_name(cluster, node),
        };
        ServerName::try_from(name).map_err(|_| CaError::NoCluster)
    }

    fn words(self) -> String {
        match self {
            Self::AnyManager => "a manager of this cluster".to_owned(),
            Self::Node(node) => format!("node {node}"),
        }
    }
}

impl Keeper {
    /// Opens a connection under the identity of now.
    pub async fn dial(&self, address: &str, expect: Expect, alpn: Alpn) -> Result<TlsStream<TcpStream>, DialError> {
        let config = self.client_config(alpn).map_err(DialError::OwnCertificate)?;
        let name = expect.server_name(self.cluster()).map_err(DialError::OwnCertificate)?;
        dial(address, config, name, &expect.words(), alpn).await
    }

    /// Connects at the first call, and again, under the identity of then, whenever the connection was lost. What
    /// could not be reached is in the error's source, where [`DialError::behind`] finds it.
    pub fn channel(&self, address: &str, expect: Expect) -> Result<Channel, DialError> {
        let (keeper, to) = (self.clone(), address.to_owned());
        let connector = tower::service_fn(move |_uri: Uri| {
            let (keeper, to) = (keeper.clone(), to.clone());
            async move { keeper.dial(&to, expect, Alpn::Grpc).await.map(TokioIo::new) }
        });
        Ok(endpoint(address)?.connect_with_connector_lazy(connector))
    }
}

/// Connects, as a host that joins, to the cluster whose root has this digest. Returns that root's certificate as PEM.
pub async fn dial_pinned(address: &str, digest: Digest) -> Result<(Channel, String), DialError> {
    let (verifier, found) = PinnedRoot::new(digest);
    let config = Arc::new(keeper::nobody(Arc::new(verifier), Alpn::Grpc).map_err(DialError::OwnCertificate)?);
    // The verifier takes the name from the certificate: the cluster's id is not known yet.
    let name = ServerName::try_from("joining.muster").map_err(|_| DialError::OwnCertificate(CaError::NoCluster))?;
    let endpoint = endpoint(address)?;
    let first = dial(address, Arc::clone(&config), name.clone(), "a manager", Alpn::Grpc).await;
    let first = first.map_err(|error| match error {
        // Who joins can ask for no list of nodes.
        DialError::OtherNode { address, .. } => DialError::NotManager { address },
        other => other,
    })?;
    let root = found.get().ok_or_else(|| DialError::NotMuster { address: address.to_owned() })?;
    let root = pem::encode(&pem::Pem::new("CERTIFICATE", root.to_vec()));
    let (first, to) = (Arc::new(Mutex::new(Some(first))), address.to_owned());
    let connector = tower::service_fn(move |_uri: Uri| {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (config, name, to) = (Arc::clone(&config), name.clone(), to.clone());
        async move {
            match first {
                Some(stream) => Ok(TokioIo::new(stream)),
                None => dial(&to, config, name, "a manager", Alpn::Grpc).await.map(TokioIo::new),
            }
        }
    });
    Ok((endpoint.connect_with_connector_lazy(connector), root))
}

fn endpoint(address: &str) -> Result<Endpoint, DialError> {
    // The scheme only says that tonic adds no encryption to ours.
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    Ok(endpoint
        .map_err(|_| DialError::NotMuster { address: address.to_owned() })?
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

async fn dial(
    address: &str,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    expected: &str,
    alpn: Alpn,
) -> Result<TlsStream<TcpStream>, DialError> {
    let connect = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|source| DialError::Unreachable { address: address.to_owned(), source })?;
        watched(&stream).map_err(|source| DialError::Unreachable { address: address.to_owned(), source })?;
        let secured = TlsConnector::from(config).connect(name, stream).await;
        secured.map_err(|error| DialError::of_handshake(address, expected, error))
    };
    let timed_out = || DialError::TimedOut { address: address.to_owned() };
    let stream = tokio::time::timeout(DIAL_MAX, connect).await.map_err(|_elapsed| timed_out())??;
    if Alpn::of(stream.get_ref().1.alpn_protocol()) != Some(alpn) {
        return Err(DialError::NotMuster { address: address.to_owned() });
    }
    Ok(stream)
}

/// A heartbeat must not wait for the acknowledgement of the message before, and the death of a host must be noticed
/// though nothing is asked of it.
fn watched(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE_AFTER).with_interval(TCP_KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(TCP_KEEPALIVE_RETRIES))?;
    socket.set_tcp_user_timeout(Some(TCP_UNANSWERED_MAX))
}
