//! Why a node could not be reached, or not be taken for the one that was meant: a sentence and the next step each.

use std::{error::Error, io};

use rustls::{CertificateError, OtherError};

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error(
        "cannot connect to {address}; check that a daemon of muster listens there and that no firewall is in between"
    )]
    Unreachable {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("{address} did not answer in time; check the address, and that no firewall is in between")]
    TimedOut { address: String },
    #[error(
        "what listens on {address} is not muster; name the address of a node, whose port is 7377 unless it was set"
    )]
    NotMuster { address: String },
    #[error(
        "the node at {address} is not of this cluster, or the cluster changed its CA while this node was away; if it is \
         the right address, run `muster leave --force` here and join again"
    )]
    OtherAuthority { address: String },
    #[error(
        "the node at {address} is not of the cluster that the join token is for, or the cluster has a new CA; ask for a \
         new token with `muster join-token` on one of its managers, and where that is new, try again in a moment"
    )]
    OtherToken { address: String },
    #[error(
        "the node at {address} is a worker, and a host joins through a manager; name the address of one, as `muster \
         join-token` prints it there"
    )]
    NotManager { address: String },
    #[error("the node at {address} is not {expected}; find its present address with `muster node ls`")]
    OtherNode { address: String, expected: String },
    #[error(
        "the certificate of the node at {address} has expired, or the clock of this host is ahead; set the clocks of both, \
         and start its daemon again so that it renews"
    )]
    Expired { address: String },
    #[error("the certificate of the node at {address} is not valid yet; set the clock of this host")]
    NotYetValid { address: String },
    #[error("the node at {address} refused the connection's encryption; run the same version of muster on both")]
    Refused {
        address: String,
        #[source]
        source: rustls::Error,
    },
    #[error("the node at {address} ended the connection before it was secured; try again in a moment")]
    Closed {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("this node's own certificate cannot be used; restore the data folder's `member` folder from a copy")]
    OwnCertificate(#[source] super::CaError),
}

/// Marks that a server sent no root with the digest that was looked for.
#[derive(Debug, thiserror::Error)]
#[error("no root of the server has the digest that was looked for")]
pub(super) struct NotPinned;

/// Marks that a server's certificate is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("the certificate names no node of a cluster")]
pub(super) struct NamesNoNode;

impl DialError {
    /// What a handshake failed with.
    pub(super) fn of_handshake(address: &str, expected: &str, error: io::Error) -> Self {
        let address = address.to_owned();
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
        let Some(tls) = tls else { return Self::Closed { address, source: error } };
        match tls {
            rustls::Error::InvalidCertificate(wrong) => Self::of_certificate(address, expected, &wrong),
            // Another protocol's bytes, or a TLS server that never heard of ours.
            rustls::Error::InvalidMessage(_)
            | rustls::Error::NoApplicationProtocol
            | rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(
                rustls::AlertDescription::ProtocolVersion
                | rustls::AlertDescription::NoApplicationProtocol
                | rustls::AlertDescription::UnrecognisedName
                | rustls::AlertDescription::HandshakeFailure,
            ) => Self::NotMuster { address },
            source => Self::Refused { address, source },
        }
    }

    fn of_certificate(address: String, expected: &str, wrong: &CertificateError) -> Self {
        match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired { address },
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid { address }
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherNode { address, expected: expected.to_owned() }
            }
            CertificateError::Other(OtherError(error)) if error.is::<NotPinned>() => Self::OtherToken { address },
            CertificateError::Other(OtherError(error)) if error.is::<NamesNoNode>() => Self::NotMuster { address },
            _ => Self::OtherAuthority { address },
        }
    }

    /// The reason at the bottom of what tonic reports, where a connection could not be made.
    #[must_use]
    pub fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
    }
}
