//! A node's own key. It is made on the node and never leaves it: only its public half travels, to be signed.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};

use super::CaError;

pub struct NodeKey(pub(super) KeyPair);

/// Without the key.
impl std::fmt::Debug for NodeKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("NodeKey(..)")
    }
}

impl NodeKey {
    pub fn generate() -> Result<Self, CaError> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self).map_err(CaError::Issue)
    }

    /// As [`NodeKey::key_pem`] gave it out.
    pub fn from_pem(key_pem: &str) -> Result<Self, CaError> {
        KeyPair::from_pem(key_pem).map(Self).map_err(CaError::NodeKey)
    }

    /// What [`super::Authority::sign`] takes: a SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_der(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// Secret.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.0.serialize_pem()
    }
}
