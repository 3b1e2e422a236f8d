//! What a certificate or key is told by: a SHA-256. Pure.

use muster_proto::trust::Digest;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::CaError;

/// Of the certificate in this PEM, in DER; the first, where there are several. Join tokens carry it.
pub fn digest(cert_pem: &str) -> Result<Digest, CaError> {
    let certificate = CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|_| CaError::NoCertificate)?;
    Ok(digest_of(&certificate))
}

/// Of all certificates in this PEM, in their order, with commas between: what tells whether two nodes trust the same
/// roots.
#[must_use]
pub fn digests(certificates_pem: &str) -> String {
    let certificates = CertificateDer::pem_slice_iter(certificates_pem.as_bytes()).filter_map(Result::ok);
    certificates.map(|certificate| digest_of(&certificate).to_string()).collect::<Vec<_>>().join(",")
}

/// Of a public key in DER, or of whatever else.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    of_parts(&[bytes])
}

pub(super) fn of_parts(parts: &[&[u8]]) -> Digest {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    Digest(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}
