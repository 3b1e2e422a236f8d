//! From a secret to the keys of one file.

use std::{fmt, num::NonZeroU32};

use ring::{aead, hkdf, hmac, pbkdf2};

use super::{
    OpenError,
    header::{Header, Kind},
};

const KEYS_LEN: usize = 64;
const PURPOSE: &[&[u8]] = &[b"muster backup, 1"];

/// What only whoever may open a backup knows.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::backup) enum Secret {
    Passphrase(String),
    KeyFile(Vec<u8>),
}

/// Without the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// Of one file: its salt is in them.
pub(super) struct Keys {
    pub(super) sealing: aead::LessSafeKey,
    /// Proves that the secret is the right one, without a look at the content.
    pub(super) prover: hmac::Key,
}

struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        KEYS_LEN
    }
}

impl Secret {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Secret::Passphrase(_) => Kind::Passphrase,
            Secret::KeyFile(_) => Kind::KeyFile,
        }
    }

    pub(super) fn keys(&self, header: &Header) -> Keys {
        let mut bytes = [0; KEYS_LEN];
        match self {
            Secret::Passphrase(text) => {
                let rounds = NonZeroU32::new(header.rounds).unwrap_or(NonZeroU32::MIN);
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &header.salt, text.as_bytes(), &mut bytes);
            }
            Secret::KeyFile(content) => {
                let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, &header.salt).extract(content);
                let filled = extracted.expand(PURPOSE, Length).and_then(|expanded| expanded.fill(&mut bytes));
                filled.expect("64 bytes are within what HKDF-SHA256 gives");
            }
        }
        let (sealing, proving) = bytes.split_at(KEYS_LEN / 2);
        let sealing = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, sealing).expect("its key is 32 bytes long");
        Keys { sealing: aead::LessSafeKey::new(sealing), prover: hmac::Key::new(hmac::HMAC_SHA256, proving) }
    }

    /// The keys of a file that was read, once it is known that they are its own.
    pub(super) fn keys_of(&self, header: &Header) -> Result<Keys, OpenError> {
        match (header.kind, self.kind()) {
            (Kind::Passphrase, Kind::KeyFile) => return Err(OpenError::WantsPassphrase),
            (Kind::KeyFile, Kind::Passphrase) => return Err(OpenError::WantsKeyFile),
            (Kind::Passphrase, Kind::Passphrase) | (Kind::KeyFile, Kind::KeyFile) => {}
        }
        let keys = self.keys(header);
        match (header.is_proven(&keys.prover), header.kind) {
            (true, _) => Ok(keys),
            (false, Kind::Passphrase) => Err(OpenError::WrongPassphrase),
            (false, Kind::KeyFile) => Err(OpenError::WrongKeyFile),
        }
    }
}
