//! What a new cluster begins with: its certificate authority, the first node's certificate, and the tokens with which
//! others join. Called by the daemon at `init`; what it returns goes into the cluster's first log entry.

use std::string::FromUtf8Error;

use muster_core::{
    command::{Founding, LOG_FORMAT},
    recovery,
    state::State,
};
use muster_proto::{
    cluster::ClusterSpec,
    id::{ClusterId, NodeId, TokenId},
    node::Role,
    time::Timestamp,
    trust::{CertificateAuthority, NodeCertificate, Root, Token},
    version::RaftId,
};

use crate::{
    ca::{self, Authority, CaError, ClusterKey, Part, SealError},
    manager::Bootstrap,
    outside::Random,
};

/// Of the first manager of a cluster, as `apply` gives it.
pub const FIRST_RAFT_ID: RaftId = RaftId(1);
/// What a CA's key is sealed as.
const CA_KEY: &[u8] = b"the key of the cluster's CA";

#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("the key of the cluster's CA cannot be read; restore the cluster from a backup")]
    Text(#[source] FromUtf8Error),
    #[error("the copy holds no cluster with a certificate authority; take a later backup")]
    NoAuthority,
}

/// A cluster that is about to be, and its first node's part in it.
#[derive(Clone, Debug)]
pub struct Begun {
    pub bootstrap: Bootstrap,
    pub root_pem: String,
    pub certificate_pem: String,
}

/// `public_key_der` is the first node's, which is a manager. The tokens' ids are drawn from `random`.
pub fn begin(
    cluster: ClusterId,
    node: NodeId,
    public_key_der: &[u8],
    key: &ClusterKey,
    spec: ClusterSpec,
    now: Timestamp,
    random: &dyn Random,
) -> Result<Begun, FoundingError> {
    let authority = Authority::create(cluster, now)?;
    let validity = spec.certificate_validity;
    let certificate_pem = authority.sign(node, Part::Manager(FIRST_RAFT_ID), public_key_der, now, validity)?;
    let sealed = seal(&authority, key)?;
    let certificate = NodeCertificate {
        key: ca::digest_of(public_key_der),
        root: sealed.root.digest,
        role: Role::Manager,
        expires_at: now + validity,
        shown: None,
    };
    let tokens = [Role::Worker, Role::Manager]
        .map(|role| standing_token(key, TokenId::from_bits(random.wide_bits()), role, now))
        .to_vec();
    let founding = Founding { authority: sealed, certificate, tokens, log_format: LOG_FORMAT };
    let bootstrap = Bootstrap { spec, founding: Some(Box::new(founding)) };
    Ok(Begun { bootstrap, root_pem: authority.cert_pem().to_owned(), certificate_pem })
}

/// A node's part in a cluster that it takes over from a copy of the state.
#[derive(Clone, Debug)]
pub struct Successor {
    pub cluster_id: ClusterId,
    /// All that the cluster trusts, one after another.
    pub roots_pem: String,
    pub certificate_pem: String,
    pub certificate: NodeCertificate,
}

/// `public_key_der` is that of the node, which will be the only manager.
pub fn take_over(
    state: &State,
    node: NodeId,
    public_key_der: &[u8],
    key: &ClusterKey,
    now: Timestamp,
) -> Result<Successor, FoundingError> {
    let (cluster, authority) = state.cluster().zip(state.authority()).ok_or(FoundingError::NoAuthority)?;
    let (root, validity) = (authority.root.digest, cluster.spec.certificate_validity);
    // What `recovery` gives it.
    let part = Part::Manager(recovery::next_raft_id(cluster, now));
    let certificate_pem = unseal(authority, key)?.sign(node, part, public_key_der, now, validity)?;
    let certificate_pem = authority.chain(&certificate_pem);
    let certificate = NodeCertificate {
        key: ca::digest_of(public_key_der),
        root,
        role: Role::Manager,
        expires_at: now + validity,
        shown: None,
    };
    let roots_pem = authority.roots().map(|root| root.certificate_pem.as_str()).collect();
    Ok(Successor { cluster_id: cluster.id, roots_pem, certificate_pem, certificate })
}

/// A root as the state holds it.
pub(crate) fn seal(authority: &Authority, key: &ClusterKey) -> Result<CertificateAuthority, FoundingError> {
    let certificate_pem = authority.cert_pem().to_owned();
    let root = Root { digest: ca::digest(&certificate_pem)?, certificate_pem };
    let sealed_key = key.seal(authority.key_pem().as_bytes(), CA_KEY)?;
    Ok(CertificateAuthority { root, sealed_key, previous: None, crossed_pem: None })
}

/// A new root for a cluster, that nodes which trust only the present one believe as well.
pub(crate) fn succeed(
    present: &CertificateAuthority,
    key: &ClusterKey,
    cluster: ClusterId,
    now: Timestamp,
) -> Result<CertificateAuthority, FoundingError> {
    let next = Authority::create(cluster, now)?;
    let crossed_pem = Some(unseal(present, key)?.certify(&next, now)?);
    Ok(CertificateAuthority { crossed_pem, ..seal(&next, key)? })
}

/// What [`seal`] made, to sign with.
pub(crate) fn unseal(sealed: &CertificateAuthority, key: &ClusterKey) -> Result<Authority, FoundingError> {
    let key_pem = String::from_utf8(key.open(&sealed.sealed_key, CA_KEY)?).map_err(FoundingError::Text)?;
    Ok(Authority::from_pem(&sealed.root.certificate_pem, &key_pem)?)
}

/// A token that ends neither by time nor by use.
pub(crate) fn standing_token(key: &ClusterKey, id: TokenId, role: Role, now: Timestamp) -> Token {
    Token { id, role, hash: key.join_secret(id).hash(), created_at: now, expires_at: None, uses_left: None }
}
