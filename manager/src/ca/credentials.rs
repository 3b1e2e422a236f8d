//! What one node shows the others, as it is kept on disk.

use std::time::Duration;

use muster_proto::{
    id::{ClusterId, NodeId},
    time::Timestamp,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::parse_x509_certificate;

use super::{Authority, CaError, NodeKey, Part, PeerIdentity, authority::cluster_of, peer};

/// A node's certificate and key with the roots it trusts, in PEM.
#[derive(Clone)]
pub struct Credentials {
    pub cluster: ClusterId,
    /// Several, one after another, while the cluster changes its root.
    pub ca_pem: String,
    /// Followed, while the cluster changes its root, by what leads from its root to the former one.
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
    /// As read back from disk, or as granted.
    pub fn from_pem(ca_pem: String, cert_pem: String, key_pem: String) -> Result<Self, CaError> {
        let cluster = cluster_of(&ca_pem)?;
        Ok(Self { cluster, ca_pem, cert_pem, key_pem })
    }

    /// A node that holds the CA makes its own.
    pub fn issue(
        authority: &Authority,
        node: NodeId,
        part: Part,
        now: Timestamp,
        validity: Duration,
    ) -> Result<Self, CaError> {
        let key = NodeKey::generate()?;
        Ok(Self {
            cluster: authority.cluster(),
            ca_pem: authority.cert_pem().to_owned(),
            cert_pem: authority.sign(node, part, &key.public_der(), now, validity)?,
            key_pem: key.key_pem(),
        })
    }

    pub fn identity(&self) -> Result<PeerIdentity, CaError> {
        peer::identity(&self.certificate()?).ok_or(CaError::NoNode)
    }

    /// When to ask for the next certificate: between half and three fifths of its life, each certificate at a moment
    /// of its own, so that nodes that joined together do not come back together.
    pub fn renew_at(&self) -> Result<Timestamp, CaError> {
        let der = self.certificate()?;
        let (_, certificate) = parse_x509_certificate(&der).map_err(|_| CaError::NoCertificate)?;
        let (issued_at, expires_at) = peer::span(&certificate).ok_or(CaError::NoCertificate)?;
        let chance = certificate.raw_serial().last().copied().unwrap_or_default();
        Ok(renewal(issued_at, expires_at, chance))
    }

    fn certificate(&self) -> Result<CertificateDer<'static>, CaError> {
        CertificateDer::from_pem_slice(self.cert_pem.as_bytes()).map_err(|_| CaError::NoCertificate)
    }
}

fn renewal(issued_at: Timestamp, expires_at: Timestamp, chance: u8) -> Timestamp {
    let life = expires_at.since(issued_at);
    issued_at + life / 2 + life / 10 * u32::from(chance) / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, WallClock};

    #[test]
    fn renewal_is_in_the_middle_of_a_certificates_life_however_short_that_is() {
        let at = Timestamp::from_millis;
        assert_eq!(renewal(at(1_000), at(11_000), 0), at(6_000));
        assert_eq!(renewal(at(1_000), at(11_000), u8::MAX), at(7_000));
        assert_eq!(renewal(at(5_000), at(1_000), u8::MAX), at(5_000), "a clock that went back: at once");
    }

    #[test]
    fn the_skew_of_clocks_does_not_make_a_new_certificate_due() {
        let now = WallClock.now();
        let authority = Authority::create(ClusterId::from_bits(1), now).unwrap();
        let validity = Duration::from_secs(1_000);
        let made = Credentials::issue(&authority, NodeId::from_bits(2), Part::Worker, now, validity).unwrap();
        let life_left = made.identity().unwrap().expires_at.since(made.renew_at().unwrap());
        assert!((399..=501).contains(&life_left.as_secs()), "{life_left:?}");
    }
}
