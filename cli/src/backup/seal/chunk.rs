//! The chunks after the header: a byte that says whether more follow, the length, and the sealed bytes with their tag.

use std::io::{self, Read, Write};

use ring::{
    aead::{self, Aad, CHACHA20_POLY1305, NONCE_LEN, Nonce},
    rand::{SecureRandom, SystemRandom},
};

use super::{
    OpenError,
    header::{HEADER_LEN, Header},
    key::Secret,
};

/// Every chunk but the last has this length.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
const HEAD_LEN: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    MoreFollow,
    Last,
}

impl Place {
    fn byte(self) -> u8 {
        match self {
            Place::MoreFollow => 0,
            Place::Last => 1,
        }
    }
}

/// The file's key is its own, so counting is enough.
fn nonce(number: u64, place: Place) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[NONCE_LEN - 1] = place.byte();
    Nonce::assume_unique_for_key(bytes)
}

/// Takes the content piece by piece and writes the sealed file.
pub(in crate::backup) struct Sealer<W> {
    to: W,
    key: aead::LessSafeKey,
    bound: [u8; 32],
    number: u64,
    held: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    pub(in crate::backup) fn new(secret: &Secret, mut to: W) -> io::Result<Self> {
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        let header = Header::new(secret.kind(), salt);
        let keys = secret.keys(&header);
        header.write(&keys.prover, &mut to)?;
        Ok(Self { to, key: keys.sealing, bound: header.digest(), number: 0, held: Vec::new() })
    }

    pub(in crate::backup) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // A full chunk waits until it is known that it is not the last.
            if self.held.len() == CHUNK_BYTES {
                self.seal(Place::MoreFollow)?;
            }
            let taken = bytes.len().min(CHUNK_BYTES - self.held.len());
            self.held.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Without this the file is one that was cut off.
    pub(in crate::backup) fn finish(mut self) -> io::Result<W> {
        self.seal(Place::Last)?;
        Ok(self.to)
    }

    fn seal(&mut self, place: Place) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.held);
        let nonce = nonce(self.number, place);
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(self.bound), &mut chunk)
            .map_err(|_| io::Error::other("a chunk cannot be sealed"))?;
        let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        self.to.write_all(&[place.byte()])?;
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(&chunk)?;
        self.number += 1;
        chunk.clear();
        self.held = chunk;
        Ok(())
    }
}

/// Reads a sealed file piece by piece. Only who has come to its end knows that it is whole.
pub(in crate::backup) struct Opener<R> {
    from: R,
    key: aead::LessSafeKey,
    bound: [u8; 32],
    number: u64,
    /// In the file.
    at: u64,
    is_over: bool,
}

impl<R: Read> Opener<R> {
    /// `from` stands behind the header.
    pub(in crate::backup) fn new(secret: &Secret, header: &Header, from: R) -> Result<Self, OpenError> {
        let keys = secret.keys_of(header)?;
        Ok(Self { from, key: keys.sealing, bound: header.digest(), number: 0, at: HEADER_LEN as u64, is_over: false })
    }

    /// The next piece; none behind the last.
    pub(in crate::backup) fn next(&mut self) -> Result<Option<Vec<u8>>, OpenError> {
        if self.is_over {
            return Ok(None);
        }
        let begin = self.at;
        let damaged = || OpenError::Damaged(begin);
        let mut head = [0; HEAD_LEN];
        self.fill(&mut head)?;
        let [place, length @ ..] = head;
        let place =
            [Place::MoreFollow, Place::Last].into_iter().find(|known| known.byte() == place).ok_or_else(damaged)?;
        let length = u32::from_be_bytes(length) as usize;
        let longest = CHUNK_BYTES + CHACHA20_POLY1305.tag_len();
        let is_possible = match place {
            Place::MoreFollow => length == longest,
            Place::Last => (CHACHA20_POLY1305.tag_len()..=longest).contains(&length),
        };
        if !is_possible {
            return Err(damaged());
        }
        let mut chunk = vec![0; length];
        self.fill(&mut chunk)?;
        let nonce = nonce(self.number, place);
        let opened = self.key.open_in_place(nonce, Aad::from(self.bound), &mut chunk).map_err(|_| damaged())?.len();
        chunk.truncate(opened);
        self.number += 1;
        if place == Place::Last {
            self.is_over = true;
            self.nothing_follows()?;
        }
        Ok(Some(chunk))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), OpenError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.from.read(&mut buffer[filled..]) {
                Ok(0) => return Err(OpenError::Truncated(self.at)),
                Ok(read) => {
                    filled += read;
                    self.at += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn nothing_follows(&mut self) -> Result<(), OpenError> {
        match self.fill(&mut [0]) {
            Err(OpenError::Truncated(_)) => Ok(()),
            Ok(()) => Err(OpenError::Damaged(self.at - 1)),
            Err(error) => Err(error),
        }
    }
}
