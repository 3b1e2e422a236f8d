//! The first bytes of a sealed file: what it is, which format, how its key is made, and whether a secret is the one.
//!
//! Damage and a wrong secret are told apart: the checksum covers the header without any secret, the proof with it.

use std::io::{self, Read, Write};

use ring::{digest, hmac};

use super::OpenError;

const MAGIC: &[u8; 14] = b"muster-backup\n";
pub(super) const FORMAT: u16 = 1;
const SALT_LEN: usize = 16;
const PROOF_LEN: usize = 32;
const CHECKSUM_LEN: usize = 8;
/// Magic, format, kind, rounds, salt.
const OPEN_LEN: usize = MAGIC.len() + 2 + 1 + 4 + SALT_LEN;
pub(super) const HEADER_LEN: usize = OPEN_LEN + PROOF_LEN + CHECKSUM_LEN;
/// What OWASP asks of PBKDF2-HMAC-SHA256 (2023), for a quarter of a second. Tests do not guess.
const ROUNDS: u32 = if cfg!(test) { 1_000 } else { 600_000 };
/// A header that asks for more is damaged, and would keep the reader busy for minutes.
const ROUNDS_MAX: u32 = 100_000_000;

/// What the key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backup) enum Kind {
    Passphrase,
    KeyFile,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Passphrase => 1,
            Kind::KeyFile => 2,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Kind::Passphrase, Kind::KeyFile].into_iter().find(|kind| kind.byte() == byte)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backup) struct Header {
    pub(in crate::backup) kind: Kind,
    pub(super) rounds: u32,
    pub(super) salt: [u8; SALT_LEN],
    /// The proof as read; none in a header that is being made.
    proof: Option<[u8; PROOF_LEN]>,
}

impl Header {
    /// Of a new file.
    pub(super) fn new(kind: Kind, salt: [u8; SALT_LEN]) -> Self {
        let rounds = match kind {
            Kind::Passphrase => ROUNDS,
            Kind::KeyFile => 0,
        };
        Self { kind, rounds, salt, proof: None }
    }

    fn open_part(&self) -> [u8; OPEN_LEN] {
        let mut bytes = [0; OPEN_LEN];
        let parts: [&[u8]; 5] =
            [MAGIC, &FORMAT.to_be_bytes(), &[self.kind.byte()], &self.rounds.to_be_bytes(), &self.salt];
        bytes.copy_from_slice(&parts.concat());
        bytes
    }

    /// What every chunk is bound to.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut bound = [0; 32];
        bound.copy_from_slice(digest::digest(&digest::SHA256, &self.open_part()).as_ref());
        bound
    }

    pub(super) fn write(&self, prover: &hmac::Key, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = self.open_part().to_vec();
        bytes.extend_from_slice(hmac::sign(prover, &self.open_part()).as_ref());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        to.write_all(&bytes)
    }

    /// From the first bytes of a file.
    pub(in crate::backup) fn read(from: &mut impl Read) -> Result<Self, OpenError> {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        from.take(HEADER_LEN as u64).read_to_end(&mut bytes)?;
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            // The beginning of the magic and nothing else is a backup that was cut off.
            let is_begun = !bytes.is_empty() && MAGIC.starts_with(&bytes);
            return Err(if is_begun { OpenError::Truncated(bytes.len() as u64) } else { OpenError::NoBackup });
        };
        if let Some(found) = rest.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
            && found != FORMAT
        {
            return Err(OpenError::Format { found });
        }
        if bytes.len() < HEADER_LEN {
            return Err(OpenError::Truncated(bytes.len() as u64));
        }
        let damaged = || OpenError::Damaged(0);
        let (said, found) =
            bytes.split_last_chunk::<CHECKSUM_LEN>().map(|(said, sum)| (said, *sum)).ok_or_else(damaged)?;
        if checksum(said) != found {
            return Err(damaged());
        }
        let (_, rest) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
        let (&kind, rest) = rest.split_first().ok_or_else(damaged)?;
        let (rounds, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (salt, rest) = rest.split_first_chunk::<SALT_LEN>().ok_or_else(damaged)?;
        let (proof, _) = rest.split_first_chunk::<PROOF_LEN>().ok_or_else(damaged)?;
        let rounds = u32::from_be_bytes(*rounds);
        if rounds > ROUNDS_MAX {
            return Err(damaged());
        }
        Ok(Self { kind: Kind::of(kind).ok_or_else(damaged)?, rounds, salt: *salt, proof: Some(*proof) })
    }

    /// Whether the secret that the key was made of is the file's.
    pub(super) fn is_proven(&self, prover: &hmac::Key) -> bool {
        self.proof.is_some_and(|proof| hmac::verify(prover, &self.open_part(), &proof).is_ok())
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut sum = [0; CHECKSUM_LEN];
    sum.copy_from_slice(&digest::digest(&digest::SHA256, bytes).as_ref()[..CHECKSUM_LEN]);
    sum
}
