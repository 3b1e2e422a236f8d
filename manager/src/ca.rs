//! Who is who between nodes: the cluster's own certificate authority, what it issues, and what a presented
//! certificate says.
//!
//! A node's identity is its certificate's subject: common name = node id, organization = cluster id, organizational
//! unit = role. Nothing else of a peer is believed. Called by the daemon (to set TLS up) and by the dispatcher (to ask
//! [`peer`] who calls). Deliberately does not know where keys are kept.

mod authority;
mod credentials;
mod peer;
#[cfg(test)]
mod tests;

pub use authority::Authority;
pub use credentials::Credentials;
pub use peer::{PeerIdentity, peer};

use muster_proto::id::{ClusterId, NodeId};

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("the certificate could not be made")]
    Issue(#[source] rcgen::Error),
    #[error("the cluster's CA certificate or key cannot be read; restore them from a backup")]
    Read(#[source] rcgen::Error),
    #[error("the CA certificate does not name a cluster; restore it from a backup")]
    NoCluster,
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
