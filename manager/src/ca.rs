//! Who is who between nodes: the cluster's own certificate authority, what it issues, how nodes reach each other under
//! it, and what a presented certificate says.
//!
//! A node's identity is its certificate's subject: common name = node id, organization = cluster id, organizational
//! unit = role, serial number = a manager's Raft id. Nothing else of a peer is believed. Called by the daemon (to make and
//! to use identities), by whoever connects to another node ([`Keeper`]), and by RPCs (to ask [`peer`] who calls).
//! Deliberately does not know where keys are kept, nor what a caller may do.

mod authority;
mod base36;
mod cluster_key;
mod credentials;
mod dial;
mod dial_error;
mod digest;
mod handshake;
mod join_token;
mod keeper;
mod node_key;
mod peer;
mod pinned;
#[cfg(test)]
mod tests;

pub(crate) use authority::check_public_key;
pub use authority::{Authority, NODE_VALIDITY};
pub use cluster_key::{ClusterKey, SealError};
pub use credentials::Credentials;
pub use dial::{DIAL_MAX, Expect, dial_pinned};
pub use dial_error::DialError;
pub use digest::{digest, digest_of, digests};
pub use handshake::Alpn;
pub use join_token::{InvalidToken, JoinSecret, JoinToken};
pub use keeper::{Keeper, Presented, Worthless};
pub use node_key::NodeKey;
pub use peer::{Part, PeerIdentity, peer};

use muster_proto::id::{ClusterId, NodeId};

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("the certificate could not be made")]
    Issue(#[source] rcgen::Error),
    #[error("the cluster's CA certificate or key cannot be read; restore them from a backup")]
    Read(#[source] rcgen::Error),
    #[error("the CA's key is not the one of its certificate; restore both from a backup")]
    AnotherKey,
    #[error("the CA certificate does not name a cluster; restore it from a backup")]
    NoCluster,
    #[error("the node's public key cannot be read; run the same version of muster on both nodes")]
    PublicKey(#[source] rcgen::Error),
    #[error("the node's key cannot be read; restore it from a copy")]
    NodeKey(#[source] rcgen::Error),
    #[error("a certificate cannot be read; restore it from a copy")]
    NoCertificate,
    #[error("the node's key cannot be read; restore it from a copy")]
    NoKey,
    #[error("the certificate names no node of a cluster; restore it from a copy")]
    NoNode,
    #[error("the certificate is that of another node or cluster; give each node its own data folder")]
    AnotherNode,
    #[error("the certificate is signed by none of the roots beside it; restore both from the same copy")]
    NoRoot,
    #[error("{found} roots stand where 1 to 4 are expected; restore the file from a copy")]
    RootCount { found: usize },
    #[error("the key is not the one of the certificate; restore both from the same copy")]
    Mismatch(#[source] rustls::Error),
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// The name under which every manager of a cluster is known, whatever its address. Only managers' certificates
/// carry it: with a worker's key nobody can pose as a manager.
#[must_use]
pub fn manager_name(cluster: ClusterId) -> String {
    format!("manager.{cluster}.muster")
}

/// The name of one node.
#[must_use]
pub fn node_name(cluster: ClusterId, node: NodeId) -> String {
    format!("{node}.node.{cluster}.muster")
}
