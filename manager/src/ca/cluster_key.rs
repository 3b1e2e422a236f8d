//! The key that only managers hold: it seals the CA's key inside the replicated state and makes the secrets of join
//! tokens.
//!
//! Each use has a key of its own that is derived from it, so that what one use shows says nothing about another.
//! Deliberately does not know where it is kept.

use std::fmt;

use muster_proto::id::TokenId;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use super::join_token::JoinSecret;

const KEY_BYTES: usize = 32;
/// Of what [`ClusterKey::seal`] makes.
const SEALED_FORMAT: u8 = 1;

#[derive(Clone)]
pub struct ClusterKey([u8; KEY_BYTES]);

/// Without the key.
impl fmt::Debug for ClusterKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClusterKey(..)")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("this host gave no random bytes; start its daemon again")]
    NoRandomness,
    #[error("what is sealed is of format {0}, which this version does not know; run the version that wrote it")]
    Format(u8),
    #[error(
        "it is damaged, or was sealed with another cluster key; restore the key file of this cluster's managers from a copy"
    )]
    Unopened,
    #[error("a cluster key has {KEY_BYTES} bytes and not {0}; restore its file from a copy")]
    KeyLength(usize),
}

impl ClusterKey {
    pub fn generate() -> Result<Self, SealError> {
        random().map(Self)
    }

    /// As read back from disk.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        bytes.try_into().map(Self).map_err(|_| SealError::KeyLength(bytes.len()))
    }

    /// Secret.
    #[must_use]
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// `about` says what it is; only who says the same opens it again.
    pub fn seal(&self, plaintext: &[u8], about: &[u8]) -> Result<Vec<u8>, SealError> {
        // Random nonces of 96 bits: a cluster seals a few values in its life, far below where they would repeat.
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut sealed = plaintext.to_vec();
        self.sealing_key()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut sealed)
            .map_err(|_| SealError::Unopened)?;
        Ok([&[SEALED_FORMAT], nonce.as_slice(), &sealed].concat())
    }

    pub fn open(&self, sealed: &[u8], about: &[u8]) -> Result<Vec<u8>, SealError> {
        let (format, rest) = sealed.split_first().ok_or(SealError::Unopened)?;
        if *format != SEALED_FORMAT {
            return Err(SealError::Format(*format));
        }
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Unopened)?;
        let mut buffer = rest.to_vec();
        let opened = self
            .sealing_key()
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(about), &mut buffer)
            .map_err(|_| SealError::Unopened)?;
        Ok(opened.to_vec())
    }

    /// The secret of the join token with this id: the same on every manager, and kept by none.
    #[must_use]
    pub fn join_secret(&self, token: TokenId) -> JoinSecret {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.derived(b"muster join tokens, 1").as_ref());
        let tag = hmac::sign(&key, &token.bits().to_be_bytes());
        JoinSecret::from_bytes(*tag.as_ref().first_chunk().expect("HMAC-SHA-256 has 32 bytes"))
    }

    fn derived(&self, purpose: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.0), purpose)
    }

    fn sealing_key(&self) -> LessSafeKey {
        let key = self.derived(b"muster sealing, 1");
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("the tag has the key's 32 bytes"))
    }
}

fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_for_the_same_thing_only() {
        let (key, other) = (ClusterKey::generate().unwrap(), ClusterKey::generate().unwrap());
        let sealed = key.seal(b"the CA's key", b"ca").unwrap();
        assert_eq!(key.open(&sealed, b"ca").unwrap(), b"the CA's key");
        assert_eq!(ClusterKey::from_bytes(key.bytes()).unwrap().open(&sealed, b"ca").unwrap(), b"the CA's key");
        assert_eq!(key.open(&sealed, b"token"), Err(SealError::Unopened));
        assert_eq!(other.open(&sealed, b"ca"), Err(SealError::Unopened));
        assert_ne!(key.seal(b"the CA's key", b"ca").unwrap(), sealed, "nothing tells that the same was sealed twice");
    }

    #[test]
    fn damage_anywhere_is_noticed() {
        let key = ClusterKey::generate().unwrap();
        let sealed = key.seal(b"plain", b"").unwrap();
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(key.open(&damaged, b"").is_err(), "byte {at}");
            assert!(key.open(&sealed[..at], b"").is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_tokens_secret_is_the_same_wherever_it_is_made() {
        let (key, one) = (ClusterKey::generate().unwrap(), TokenId::from_bits(1));
        assert_eq!(key.join_secret(one), ClusterKey::from_bytes(key.bytes()).unwrap().join_secret(one));
        assert_ne!(key.join_secret(one), key.join_secret(TokenId::from_bits(2)));
        assert_ne!(key.join_secret(one), ClusterKey::generate().unwrap().join_secret(one));
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        assert_eq!(ClusterKey::from_bytes(&[0; 31]).unwrap_err(), SealError::KeyLength(31));
    }
}
