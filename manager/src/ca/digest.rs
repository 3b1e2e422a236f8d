//! What a CA certificate is told by: the SHA-256 of its DER, as a join token carries it.

use std::{fmt, str::FromStr};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{CaError, base36};

const BYTES: usize = 32;
/// 36^50 > 2^256 > 36^49.
pub(super) const DIGEST_TEXT_LEN: usize = 50;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; BYTES]);

/// Of the certificate in this PEM; the first, where there are several.
pub fn digest(ca_cert_pem: &str) -> Result<Digest, CaError> {
    let certificate = CertificateDer::from_pem_slice(ca_cert_pem.as_bytes()).map_err(|_| CaError::NoCertificate)?;
    Ok(Digest::of(&certificate))
}

impl Digest {
    pub(super) fn of(certificate_der: &[u8]) -> Self {
        Self::of_parts(&[certificate_der])
    }

    pub(super) fn of_parts(parts: &[&[u8]]) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        parts.iter().for_each(|part| context.update(part));
        Self(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    pub(super) fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&base36::encode(&self.0, DIGEST_TEXT_LEN))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Digest({self})")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is {DIGEST_TEXT_LEN} characters of 0-9 and a-z")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        if text.len() != DIGEST_TEXT_LEN {
            return Err(InvalidDigest);
        }
        base36::decode(text).map(Self).ok_or(InvalidDigest)
    }
}
