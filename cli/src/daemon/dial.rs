//! How the agent reaches managers and other nodes: TCP with TLS on it, both ends with certificates of the cluster.
//!
//! The protocol is chosen in the handshake (ALPN), and so is who must answer: any manager, or one node. It knows nothing
//! of what is said then.

use std::{io, sync::Arc, time::Duration};

use anyhow::Context;
use futures_util::{FutureExt, future::BoxFuture};
use muster_agent::dial::{Dial, Stream};
use muster_manager::ca::{self, Credentials};
use muster_proto::id::{ClusterId, NodeId};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// One connection to one task, as bytes.
const RELAY_ALPN: &[u8] = b"muster-relay";
const MANAGER_ALPN: &[u8] = b"h2";

/// A peer whose host has died is noticed after the first and three of the second, or when nothing it was sent has been
/// taken for the third.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const UNANSWERED_MAX: Duration = Duration::from_secs(8);

#[derive(Clone, Debug)]
pub(super) struct MutualTls {
    cluster: ClusterId,
    manager: Arc<ClientConfig>,
    relay: Arc<ClientConfig>,
}

impl MutualTls {
    pub(super) fn new(credentials: &Credentials) -> anyhow::Result<Self> {
        let config = |alpn: &[u8]| {
            client_config(credentials, alpn)
                .context("the node's certificate cannot be used; restore the data folder's `member` folder from a copy")
        };
        Ok(Self { cluster: credentials.cluster, manager: config(MANAGER_ALPN)?, relay: config(RELAY_ALPN)? })
    }
}

fn client_config(credentials: &Credentials, alpn: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(credentials.ca_pem.as_bytes()) {
        roots.add(root?)?;
    }
    let chain = CertificateDer::pem_slice_iter(credentials.cert_pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

fn connect(config: Arc<ClientConfig>, name: String, address: &str) -> BoxFuture<'static, io::Result<Stream>> {
    let address = address.to_owned();
    async move {
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(
            &TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL).with_retries(3),
        )?;
        socket.set_tcp_user_timeout(Some(UNANSWERED_MAX))?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Box::new(stream) as Stream)
    }
    .boxed()
}

impl Dial for MutualTls {
    fn manager(&self, address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        connect(self.manager.clone(), ca::manager_name(self.cluster), address)
    }

    fn node(&self, node: NodeId, address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        connect(self.relay.clone(), ca::node_name(self.cluster, node), address)
    }
}
