//! What one node shows the others, and how it uses it.

use std::time::Duration;

use muster_proto::id::ClusterId;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use super::{CaError, authority::cluster_of, manager_name};

/// A connection that has not shown a certificate holds a place no longer than this.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A node's certificate and key with the CA it trusts, in PEM as they are kept on disk.
#[derive(Clone)]
pub struct Credentials {
    pub cluster: ClusterId,
    pub ca_pem: String,
    pub cert_pem: String,
    /// Secret.
    pub key_pem: String,
}

/// Without the key.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credentials").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl Credentials {
    /// As read back from disk.
    pub fn from_pem(ca_pem: String, cert_pem: String, key_pem: String) -> Result<Self, CaError> {
        let cluster = cluster_of(&ca_pem).ok_or(CaError::NoCluster)?;
        Ok(Self { cluster, ca_pem, cert_pem, key_pem })
    }

    /// Callers without a certificate of this cluster do not get past the handshake.
    #[must_use]
    pub fn server_tls(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .timeout(HANDSHAKE_MAX)
            .identity(Identity::from_pem(&self.cert_pem, &self.key_pem))
            .client_ca_root(Certificate::from_pem(&self.ca_pem))
    }

    /// Takes only a manager of this cluster for a manager, at whatever address.
    #[must_use]
    pub fn client_tls(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .timeout(HANDSHAKE_MAX)
            .ca_certificate(Certificate::from_pem(&self.ca_pem))
            .identity(Identity::from_pem(&self.cert_pem, &self.key_pem))
            .domain_name(manager_name(self.cluster))
    }
}
