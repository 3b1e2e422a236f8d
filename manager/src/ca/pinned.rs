//! How a host that joins recognises the cluster: by the digest of its root, before anything is sent.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::verify_tls13_signature,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use muster_proto::trust::Digest;

use super::{dial_error, digest_of, handshake::provider, manager_name, peer};

/// Accepts a manager whose certificate is signed by the root with this digest. The server sends that root along.
#[derive(Debug)]
pub(super) struct PinnedRoot {
    digest: Digest,
    found: Arc<OnceLock<CertificateDer<'static>>>,
}

impl PinnedRoot {
    /// Also where the root is found once a server was accepted.
    pub(super) fn new(digest: Digest) -> (Self, Arc<OnceLock<CertificateDer<'static>>>) {
        let found = Arc::new(OnceLock::new());
        (Self { digest, found: Arc::clone(&found) }, found)
    }
}

fn wrong(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let identity = peer::identity(end_entity).ok_or_else(|| wrong(dial_error::NamesNoNode))?;
        let root = intermediates.iter().find(|sent| digest_of(sent) == self.digest);
        let root = root.ok_or_else(|| wrong(dial_error::NotPinned))?.clone().into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(root.clone())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let manager = ServerName::try_from(manager_name(identity.cluster_id))
            .map_err(|error| Error::General(error.to_string()))?;
        let verified = verifier.verify_server_cert(end_entity, &[], &manager, ocsp_response, now)?;
        // One host is asked for one cluster: a second answer can only be the same.
        drop(self.found.set(root));
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
