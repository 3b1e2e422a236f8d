//! This node's identity as it is now, and TLS with it: what the port and every connection to another node go through.
//!
//! A certificate or a root can be exchanged at any moment, without a restart: whoever opens or takes a connection asks
//! for the configuration then, and gets the newest. Sessions are resumed only under the identity they were begun with,
//! because the tickets live in that configuration. TLS 1.3 only.
//!
//! A handshake on the server's side proves that the caller holds the key of what it shows; what that is worth is said
//! by [`Keeper::presented`], so that a caller who is refused can be told why. Deliberately does not know what a caller
//! may do, or where credentials are kept.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_proto::{
    id::{ClusterId, NodeId},
    time::Timestamp,
    trust::Digest,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::WebPkiServerVerifier,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};

use tokio::sync::watch;

use super::{
    Alpn, CaError, Credentials, PeerIdentity, digest_of,
    handshake::{AnyCaller, NoCaller, Only, TLS_VERSIONS, provider},
    peer,
};

/// Sessions of other nodes that are kept for resumption; one takes about a kilobyte.
const SESSIONS_MAX: usize = 1_024;
/// Roots that a node trusts at once: the present one, the next one, and room for a change begun anew.
const ROOTS_MAX: usize = 4;
/// A certificate lets its node renew for as long again as it was good for, and this long at least.
const GRACE_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// What the other end of a connection showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    Nothing,
    Worthless(Worthless),
    /// Of this cluster's CA. It may have expired, as the time of use tells.
    Certificate(PeerIdentity),
}

/// Why a certificate counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worthless {
    /// Of another cluster, or of a root that this one has given up.
    OtherAuthority,
    NotYetValid,
    LongExpired,
}

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Keeper(Arc<watch::Sender<Arc<Current>>>);

/// Never changed, only exchanged as a whole.
struct Current {
    credentials: Credentials,
    identity: PeerIdentity,
    callers: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
    certified: Arc<CertifiedKey>,
    /// One for each protocol, so that what belongs to resumption is shared.
    configs: Mutex<Vec<(Alpn, Arc<ClientConfig>)>>,
    roots: Vec<CertificateDer<'static>>,
    server_config: Arc<ServerConfig>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Keeper").field("identity", &self.current().identity).finish_non_exhaustive()
    }
}

impl Keeper {
    pub fn new(credentials: Credentials) -> Result<Self, CaError> {
        Ok(Self(Arc::new(watch::Sender::new(Arc::new(Current::new(credentials)?)))))
    }

    /// From now on every new connection uses these. Refused, and nothing is changed, unless they are of the same node
    /// and hold together.
    pub fn replace(&self, credentials: Credentials) -> Result<(), CaError> {
        let next = Arc::new(Current::new(credentials)?);
        let before = self.identity();
        if (next.identity.cluster_id, next.identity.node_id) != (before.cluster_id, before.node_id) {
            return Err(CaError::AnotherNode);
        }
        self.0.send_replace(next);
        Ok(())
    }

    #[must_use]
    pub fn identity(&self) -> PeerIdentity {
        self.current().identity
    }

    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.current().credentials.clone()
    }

    /// All that are trusted, in PEM: what [`Keeper::presented`] says holds as long as these are.
    #[must_use]
    pub fn roots(&self) -> String {
        self.current().credentials.ca_pem.clone()
    }

    /// Resolves once others are trusted than `roots`.
    pub async fn other_roots(&self, roots: &str) {
        let mut now = self.0.subscribe();
        if now.wait_for(|current| current.credentials.ca_pem != roots).await.is_err() {
            // The sender is this keeper's own.
            std::future::pending().await
        }
    }

    /// For the next connection taken. A client certificate is asked for and not demanded.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().server_config)
    }

    /// For the next connection opened, to a server name of this cluster.
    pub(super) fn client_config(&self, alpn: Alpn) -> Result<Arc<ClientConfig>, CaError> {
        self.current().client_config(alpn)
    }

    /// What the certificates of a connection are worth under the roots of now. To be asked once a connection is
    /// secured, resumed ones included: a session outlives the roots it was begun under.
    #[must_use]
    pub fn presented(&self, certificates: Option<&[CertificateDer<'_>]>, now: Timestamp) -> Presented {
        let Some((leaf, rest)) = certificates.and_then(<[_]>::split_first) else { return Presented::Nothing };
        // A root's key that the former root has certified: this node may not have heard of that root yet.
        let rest = &rest[..rest.len().min(ROOTS_MAX)];
        let (current, unix) = (self.current(), UnixTime::since_unix_epoch(Duration::from_millis(now.millis())));
        let verdict = match current.callers.verify_client_cert(leaf, rest, unix) {
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::ExpiredContext { not_after, .. })) => {
                let grace = peer::life(leaf).unwrap_or_default().max(GRACE_MIN);
                if unix.as_secs().saturating_sub(not_after.as_secs()) > grace.as_secs() {
                    return Presented::Worthless(Worthless::LongExpired);
                }
                // Everything else about it still has to hold.
                current.callers.verify_client_cert(leaf, rest, not_after)
            }
            verdict => verdict,
        };
        match verdict {
            Ok(_) => match peer::identity(leaf) {
                Some(identity) if identity.cluster_id == current.identity.cluster_id => {
                    Presented::Certificate(PeerIdentity {
                        root: current.root_of(leaf, identity.expires_at),
                        ..identity
                    })
                }
                Some(_) | None => Presented::Worthless(Worthless::OtherAuthority),
            },
            Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::NotValidYet | rustls::CertificateError::NotValidYetContext { .. },
            )) => Presented::Worthless(Worthless::NotYetValid),
            Err(_) => Presented::Worthless(Worthless::OtherAuthority),
        }
    }

    pub(super) fn cluster(&self) -> ClusterId {
        self.identity().cluster_id
    }

    #[must_use]
    pub fn node(&self) -> NodeId {
        self.identity().node_id
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.0.borrow())
    }
}

impl Current {
    fn new(credentials: Credentials) -> Result<Self, CaError> {
        let provider = provider();
        let (roots, root_ders) = read_roots(&credentials.ca_pem)?;
        let identity = credentials.identity()?;
        if identity.cluster_id != credentials.cluster {
            return Err(CaError::AnotherNode);
        }
        let mut chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(credentials.cert_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| CaError::NoCertificate)?;
        let leaf = chain.first().ok_or(CaError::NoCertificate)?;
        let (callers, servers) = verifiers(&roots, &provider)?;
        // An expired one may still renew; one that no root has signed is of no use.
        let root = issuer_of(leaf, &root_ders, identity.expires_at, &provider)?.ok_or(CaError::NoRoot)?;
        let key = PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes()).map_err(|_| CaError::NoKey)?;
        // The root goes along, so that a host that joins can tell it by its digest.
        chain.push(root);
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(CaError::Mismatch)?;
        let certified = Arc::new(certified);
        let server_config = Arc::new(server_config(&certified, provider)?);
        let configs = Mutex::default();
        Ok(Self { credentials, identity, callers, servers, certified, configs, roots: root_ders, server_config })
    }

    fn root_of(&self, leaf: &CertificateDer<'_>, at: Timestamp) -> Option<Digest> {
        issuer_of(leaf, &self.roots, at, &provider()).ok().flatten().map(|root| digest_of(&root))
    }

    fn client_config(&self, alpn: Alpn) -> Result<Arc<ClientConfig>, CaError> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, config)) = configs.iter().find(|(made, _)| *made == alpn) {
            return Ok(Arc::clone(config));
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(TLS_VERSIONS)
            .map_err(CaError::Tls)?
            .with_webpki_verifier(Arc::clone(&self.servers));
        let mut config = builder.with_client_cert_resolver(Arc::new(Only(Arc::clone(&self.certified))));
        config.alpn_protocols = vec![alpn.name().to_vec()];
        let config = Arc::new(config);
        configs.push((alpn, Arc::clone(&config)));
        Ok(config)
    }
}

fn server_config(certified: &Arc<CertifiedKey>, provider: Arc<CryptoProvider>) -> Result<ServerConfig, CaError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(TLS_VERSIONS)
        .map_err(CaError::Tls)?
        .with_client_cert_verifier(Arc::new(AnyCaller))
        .with_cert_resolver(Arc::new(Only(Arc::clone(certified))));
    config.alpn_protocols = Alpn::ALL.iter().map(|alpn| alpn.name().to_vec()).collect();
    config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS_MAX);
    Ok(config)
}

fn read_roots(ca_pem: &str) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), CaError> {
    let ders: Vec<_> = CertificateDer::pem_slice_iter(ca_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| CaError::NoCertificate)?;
    if ders.is_empty() || ders.len() > ROOTS_MAX {
        return Err(CaError::RootCount { found: ders.len() });
    }
    let mut roots = RootCertStore::empty();
    ders.iter().try_for_each(|der| roots.add(der.clone())).map_err(CaError::Tls)?;
    Ok((roots, ders))
}

fn verifiers(
    roots: &RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<(Arc<dyn ClientCertVerifier>, Arc<WebPkiServerVerifier>), CaError> {
    let roots = Arc::new(roots.clone());
    let unusable = |_| CaError::NoCertificate;
    let callers = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
    let servers = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
    Ok((callers.build().map_err(unusable)?, servers.build().map_err(unusable)?))
}

/// The one of the roots that signed the certificate, without another's help.
fn issuer_of(
    leaf: &CertificateDer<'_>,
    roots: &[CertificateDer<'static>],
    at: Timestamp,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<CertificateDer<'static>>, CaError> {
    let at = UnixTime::since_unix_epoch(Duration::from_millis(at.millis()));
    for root in roots {
        let mut alone = RootCertStore::empty();
        alone.add(root.clone()).map_err(CaError::Tls)?;
        let (callers, _) = verifiers(&alone, provider)?;
        if callers.verify_client_cert(leaf, &[], at).is_ok() {
            return Ok(Some(root.clone()));
        }
    }
    Ok(None)
}

/// Shows nothing and takes only a server that has this root.
pub(super) fn nobody(
    verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>,
    alpn: Alpn,
) -> Result<ClientConfig, CaError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(TLS_VERSIONS)
        .map_err(CaError::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(NoCaller));
    config.alpn_protocols = vec![alpn.name().to_vec()];
    Ok(config)
}
