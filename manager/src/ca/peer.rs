//! Who calls: what a verified certificate says, and how an RPC asks for it.

use std::time::Duration;

use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
    time::Timestamp,
    trust::Digest,
    version::RaftId,
};
use tonic::{Request, Status};
use x509_parser::{
    asn1_rs::Oid,
    certificate::X509Certificate,
    parse_x509_certificate,
    x509::{AttributeTypeAndValue, X509Name},
};

use super::authority::CLOCK_SKEW;

/// X.520's serial number, which says which of several a subject is; not to be taken for that of the certificate.
pub(super) const RAFT_ID: &[u64] = &[2, 5, 4, 5];

/// What a certificate lets its node be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Worker,
    /// The one with this Raft id, and none that the node was before or will be later.
    Manager(RaftId),
}

impl Part {
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::Worker => Role::Worker,
            Self::Manager(_) => Role::Manager,
        }
    }

    #[must_use]
    pub fn raft_id(self) -> Option<RaftId> {
        match self {
            Self::Worker => None,
            Self::Manager(raft_id) => Some(raft_id),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    /// What the certificate allows; what the node may do is also a matter of the state.
    pub role: Role,
    /// Of a manager: as which one it may speak in the Raft group.
    pub raft_id: Option<RaftId>,
    /// The one of the roots that are trusted here which signed it; none where another vouches for that one.
    pub root: Option<Digest>,
    pub expires_at: Timestamp,
}

/// The caller's identity, as the server that took the connection has put it into the request's extensions. A remote
/// caller cannot do that.
pub fn peer<T>(request: &Request<T>) -> Result<PeerIdentity, Status> {
    request.extensions().get::<PeerIdentity>().copied().ok_or_else(|| {
        Status::unauthenticated("the call carries no certificate; only members of the cluster may make it")
    })
}

/// None: it names no node of a cluster. Says nothing of who signed it, and so names no root.
pub(super) fn identity(certificate_der: &[u8]) -> Option<PeerIdentity> {
    let (_, certificate) = parse_x509_certificate(certificate_der).ok()?;
    let subject = certificate.subject();
    Some(PeerIdentity {
        cluster_id: only(subject.iter_organization())?.parse().ok()?,
        node_id: only(subject.iter_common_name())?.parse().ok()?,
        role: match only(subject.iter_organizational_unit())? {
            "worker" => Role::Worker,
            "manager" => Role::Manager,
            _ => return None,
        },
        raft_id: raft_id(subject)?,
        root: None,
        expires_at: span(&certificate)?.1,
    })
}

/// The outer None: it is not what a certificate authority of ours writes.
fn raft_id(subject: &X509Name<'_>) -> Option<Option<RaftId>> {
    let oid = Oid::from(RAFT_ID).ok()?;
    let mut said = subject.iter_by_oid(&oid).peekable();
    if said.peek().is_none() {
        return Some(None);
    }
    only(said)?.parse().ok().map(|id| Some(RaftId(id)))
}

/// How long it is good for, from its issue.
pub(super) fn life(certificate_der: &[u8]) -> Option<Duration> {
    let (_, certificate) = parse_x509_certificate(certificate_der).ok()?;
    let (issued_at, expires_at) = span(&certificate)?;
    Some(expires_at.since(issued_at))
}

/// From its issue to its end. What the certificate says of its beginning lies [`CLOCK_SKEW`] earlier, which is longer
/// than a short-lived one lives.
pub(super) fn span(certificate: &X509Certificate<'_>) -> Option<(Timestamp, Timestamp)> {
    let millis = |seconds: i64| Some(Timestamp::from_millis(u64::try_from(seconds).ok()?.checked_mul(1_000)?));
    let validity = certificate.validity();
    Some((millis(validity.not_before.timestamp())? + CLOCK_SKEW, millis(validity.not_after.timestamp())?))
}

/// Two values would leave open which one was meant.
pub(super) fn only<'a>(mut values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<&'a str> {
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.as_str().ok()
}
