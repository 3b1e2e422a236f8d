//! Whom the cluster trusts: its root certificate, what it knows of each node's certificate, and the tokens with which
//! hosts join. Only values: certificates are made and checked in the manager's `ca`.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{id::TokenId, node::Role, time::Timestamp};

/// A SHA-256. Shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 characters of 0-9 and a-f")]
pub struct InvalidDigest;

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Digest({self})")
    }
}

impl std::str::FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(InvalidDigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let digit = |place: usize| match pair[place] {
                found @ b'0'..=b'9' => Ok(found - b'0'),
                found @ b'a'..=b'f' => Ok(found - b'a' + 10),
                _ => Err(InvalidDigest),
            };
            *byte = digit(0)? << 4 | digit(1)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// A root certificate of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    pub certificate_pem: String,
    /// Of the certificate in DER.
    pub digest: Digest,
}

/// What signs the nodes' certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateAuthority {
    /// The one that signs.
    pub root: Root,
    /// Its key, under the cluster key, which is not in the state.
    pub sealed_key: Vec<u8>,
    /// Trusted too, until no node has a certificate of it any more.
    pub previous: Option<Root>,
    /// The present root's key as the previous root certifies it, in PEM: whoever has not heard of the present root yet
    /// believes it by this. There while there is a previous one.
    #[serde(default)]
    pub crossed_pem: Option<String>,
}

impl CertificateAuthority {
    /// A node's certificate, signed by the present root, with what leads from it to the previous one.
    #[must_use]
    pub fn chain(&self, certificate_pem: &str) -> String {
        format!("{certificate_pem}{}", self.crossed_pem.as_deref().unwrap_or_default())
    }

    /// The newest first.
    pub fn roots(&self) -> impl Iterator<Item = &Root> {
        std::iter::once(&self.root).chain(&self.previous)
    }
}

/// What was last issued to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCertificate {
    /// Of the node's public key in DER. A host that repeats its join is known by it.
    pub key: Digest,
    /// The root that signed it.
    pub root: Digest,
    pub role: Role,
    pub expires_at: Timestamp,
    /// The root of the certificate that the node showed when it asked for this one. What was issued may never have
    /// reached it; what it has shown it has.
    #[serde(default)]
    pub shown: Option<Digest>,
}

/// What lets a host in. The secret itself is nowhere: managers derive it from the cluster key and the id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    pub role: Role,
    /// Of the secret as it is written in the token.
    pub hash: Digest,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// Joins that it is still good for; none: any number.
    pub uses_left: Option<u32>,
}

impl Token {
    /// Hosts that one token may let in: as many as no cluster has.
    pub const USES_MAX: u32 = 10_000;

    /// Neither ends by time nor by use: the one that `join-token` shows again.
    #[must_use]
    pub fn is_standing(&self) -> bool {
        self.expires_at.is_none() && self.uses_left.is_none()
    }

    #[must_use]
    pub fn is_spent(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now) || self.uses_left == Some(0)
    }
}

pub type Tokens = BTreeMap<TokenId, Token>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_and_other_text_does_not() {
        let digest = Digest(std::array::from_fn(|place| u8::try_from(place * 8).expect("below 256")));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["", "00", &"0".repeat(63), &"A".repeat(64), &"é".repeat(32)] {
            assert_eq!(text.parse::<Digest>(), Err(InvalidDigest), "{text}");
        }
    }

    #[test]
    fn a_token_ends_by_time_or_by_use() {
        let token = Token {
            id: TokenId::from_bits(1),
            role: Role::Worker,
            hash: Digest([0; 32]),
            created_at: Timestamp::EPOCH,
            expires_at: None,
            uses_left: None,
        };
        let at = Timestamp::from_millis;
        assert!(token.is_standing() && !token.is_spent(Timestamp::MAX));
        let timed = Token { expires_at: Some(at(5)), ..token.clone() };
        assert!(!timed.is_standing() && !timed.is_spent(at(4)) && timed.is_spent(at(5)));
        let counted = Token { uses_left: Some(1), ..token };
        assert!(!counted.is_standing() && !counted.is_spent(at(4)));
        assert!(Token { uses_left: Some(0), ..counted }.is_spent(at(4)));
    }
}
