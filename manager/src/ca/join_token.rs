//! What lets a host into a cluster: `MST-1-<digest of the CA>-<secret><checksum>`.
//!
//! The digest lets the host recognise the cluster before it sends anything; the secret lets the cluster admit the host.
//! Lengths are fixed and the last characters check the others, so that a token that was cut off or mistyped is found
//! out on the spot. Managers keep only a secret's hash. Pure.

use std::{fmt, str::FromStr};

use muster_proto::trust::Digest;
use subtle::ConstantTimeEq;

use super::{base36, digest::of_parts};

const PREFIX: &str = "MST";
const FORMAT: &str = "1";
/// 36^50 > 2^256 > 36^49.
const DIGEST_TEXT_LEN: usize = 50;
const SECRET_BYTES: usize = 16;
/// 36^25 > 2^128 > 36^24.
const SECRET_TEXT_LEN: usize = 25;
/// 20 bits: of a million slips of the pen one goes unnoticed here, and is then refused by the manager.
const CHECKSUM_TEXT_LEN: usize = 4;

/// What a token proves. As text it is what travels in a join.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JoinSecret([u8; SECRET_BYTES]);

impl JoinSecret {
    pub(super) const fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(bytes)
    }

    /// What managers keep of it.
    #[must_use]
    pub fn hash(&self) -> Digest {
        of_parts(&[b"muster join secret, 1\0", &self.0])
    }

    /// Takes the same time wherever the difference is.
    #[must_use]
    pub fn has_hash(&self, hash: &Digest) -> bool {
        self.hash().0.ct_eq(&hash.0).into()
    }
}

/// Without the secret.
impl fmt::Debug for JoinSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JoinSecret(..)")
    }
}

impl fmt::Display for JoinSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&base36::encode(&self.0, SECRET_TEXT_LEN))
    }
}

impl FromStr for JoinSecret {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        if text.len() != SECRET_TEXT_LEN {
            return Err(InvalidToken::Mistyped);
        }
        base36::decode(text).map(Self).ok_or(InvalidToken::Mistyped)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinToken {
    pub ca: Digest,
    pub secret: JoinSecret,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    #[error(
        "this is no join token: one begins with {PREFIX}-{FORMAT}-; see it with `muster join-token worker` on a manager"
    )]
    NoToken,
    #[error(
        "the join token is of format {0:?} and this muster reads format {FORMAT}; run the version of muster that the managers run"
    )]
    Format(String),
    #[error(
        "the join token is {found} characters long instead of {}; copy the whole of what `muster join-token` prints",
        TEXT_LEN
    )]
    Length { found: usize },
    #[error("the join token is mistyped; copy the whole of what `muster join-token` prints")]
    Mistyped,
}

const TEXT_LEN: usize = PREFIX.len() + 1 + FORMAT.len() + 1 + DIGEST_TEXT_LEN + 1 + SECRET_TEXT_LEN + CHECKSUM_TEXT_LEN;
/// A format name that is longer is not one.
const FORMAT_SHOWN_MAX: usize = 8;

impl JoinToken {
    fn checksum(&self) -> String {
        let Digest([first, second, third, ..]) = of_parts(&[b"muster join token, 1\0", &self.ca.0, &self.secret.0]);
        base36::encode(&[first & 0x0f, second, third], CHECKSUM_TEXT_LEN)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ca = base36::encode(&self.ca.0, DIGEST_TEXT_LEN);
        write!(out, "{PREFIX}-{FORMAT}-{ca}-{}{}", self.secret, self.checksum())
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let text = text.trim();
        let rest = text.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-')).ok_or(InvalidToken::NoToken)?;
        let (format, rest) = rest.split_once('-').ok_or(InvalidToken::NoToken)?;
        if format != FORMAT {
            return Err(InvalidToken::Format(format.chars().take(FORMAT_SHOWN_MAX).collect()));
        }
        let found = text.chars().count();
        if found != TEXT_LEN {
            return Err(InvalidToken::Length { found });
        }
        let (ca, secret) = rest.split_once('-').ok_or(InvalidToken::Mistyped)?;
        let (secret, checksum) = secret.split_at_checked(SECRET_TEXT_LEN).ok_or(InvalidToken::Mistyped)?;
        let ca = base36::decode(ca).map(Digest).ok_or(InvalidToken::Mistyped)?;
        let token = Self { ca, secret: secret.parse()? };
        if token.checksum() == checksum { Ok(token) } else { Err(InvalidToken::Mistyped) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> JoinToken {
        JoinToken { ca: of_parts(&[b"a certificate"]), secret: JoinSecret::from_bytes([7; 16]) }
    }

    #[test]
    fn a_token_is_read_as_written_and_shown_whole() {
        let text = token().to_string();
        assert_eq!(text.len(), TEXT_LEN);
        assert_eq!(text.parse(), Ok(token()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token()), "what is pasted has blanks around it");
        assert!(!format!("{:?}", token()).contains(&token().secret.to_string()));
    }

    #[test]
    fn what_is_wrong_with_it_is_said() {
        let text = token().to_string();
        let said = |text: &str| text.parse::<JoinToken>().expect_err("refused").to_string();
        assert!(said("").starts_with("this is no join token"));
        assert!(said("SWMTKN-1-abc").starts_with("this is no join token"));
        assert!(said("MST-2-abc").contains("format \"2\""));
        assert!(said(&text[..60]).contains("60 characters long instead of 86"));
        assert!(said(&format!("{text}x")).contains("87 characters long instead of 86"));
        assert!(said(&text.replace('-', "_").replacen("MST_1_", "MST-1-", 1)).contains("mistyped"));
        assert!(said(&text.to_uppercase()).contains("mistyped"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "\\PC*") {
            prop_assert!(text.parse::<JoinToken>().is_err());
            let begun = format!("MST-1-{text}");
            prop_assert!(begun.parse::<JoinToken>().is_err());
        }

        #[test]
        fn any_character_that_was_exchanged_is_noticed(at in 6..TEXT_LEN, by in proptest::char::range('a', 'z')) {
            let text = token().to_string();
            let mut other: Vec<char> = text.chars().collect();
            prop_assume!(other[at] != by);
            other[at] = by;
            let other: String = other.into_iter().collect();
            prop_assert_eq!(other.parse::<JoinToken>(), Err(InvalidToken::Mistyped));
        }
    }

    #[test]
    fn only_the_same_secret_has_the_same_hash() {
        let secret = token().secret;
        assert_eq!(secret.to_string().parse(), Ok(secret));
        assert!(secret.has_hash(&JoinSecret::from_bytes([7; 16]).hash()));
        assert!(!secret.has_hash(&JoinSecret::from_bytes([8; 16]).hash()));
    }
}
