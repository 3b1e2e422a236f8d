//! Who calls: read from the certificate that the TLS handshake has verified.

use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
};
use tonic::{Request, Status};
use x509_parser::{parse_x509_certificate, x509::AttributeTypeAndValue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    pub role: Role,
}

/// The caller's identity. Refused unless the connection is TLS with a client certificate that names one, or a server
/// interceptor has put a [`PeerIdentity`] into the request's extensions. A remote caller cannot do the latter; it is
/// for servers that know their caller by other means, such as an in-process connection.
pub fn peer<T>(request: &Request<T>) -> Result<PeerIdentity, Status> {
    if let Some(identity) = request.extensions().get::<PeerIdentity>() {
        return Ok(*identity);
    }
    let certificates = request.peer_certs().ok_or_else(|| {
        Status::unauthenticated("the call carries no certificate; only members of the cluster may make it")
    })?;
    certificates.first().and_then(|leaf| identity(leaf)).ok_or_else(|| {
        Status::unauthenticated("the certificate names no node of a cluster; take the node out and join it again")
    })
}

fn identity(certificate_der: &[u8]) -> Option<PeerIdentity> {
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
    })
}

/// Two values would leave open which one was meant.
fn only<'a>(mut values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<&'a str> {
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.as_str().ok()
}
