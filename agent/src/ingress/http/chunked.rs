//! The chunked transfer coding: where a body of it ends. Only size lines and trailers are read byte by byte; chunks
//! are stepped over whole.

/// Of one size line or of all trailers together; what is longer is not understood.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// Digits of a chunk size that a u64 holds.
const SIZE_DIGITS_MAX: u32 = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    Size {
        value: u64,
        digits: u32,
        line_bytes: usize,
        in_extension: bool,
    },
    Chunk {
        left: u64,
    },
    /// The line end after a chunk.
    ChunkEnd,
    Trailers {
        bytes: usize,
        line_is_empty: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advance {
    /// All bytes belong to the body, which goes on.
    All,
    /// The body ended after this many bytes.
    Ended(usize),
}

impl Chunked {
    pub(super) fn new() -> Self {
        Self::Size { value: 0, digits: 0, line_bytes: 0, in_extension: false }
    }

    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            if let Self::Chunk { left } = self {
                let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                *left -= step as u64;
                at += step;
                if *left == 0 {
                    *self = Self::ChunkEnd;
                }
                continue;
            }
            let ended = self.step(bytes[at])?;
            at += 1;
            if ended {
                return Ok(Advance::Ended(at));
            }
        }
        Ok(Advance::All)
    }

    /// One byte outside chunks; true when it was the last of the body.
    fn step(&mut self, byte: u8) -> Result<bool, Malformed> {
        match self {
            Self::Size { value, digits, line_bytes, in_extension } => {
                *line_bytes += 1;
                let digit = char::from(byte).to_digit(16);
                match (byte, digit) {
                    _ if *line_bytes > LINE_BYTES_MAX => return Err(Malformed),
                    (b'\n', _) if *digits == 0 => return Err(Malformed),
                    (b'\n', _) if *value == 0 => *self = Self::Trailers { bytes: 0, line_is_empty: true },
                    (b'\n', _) => *self = Self::Chunk { left: *value },
                    (_, Some(digit)) if !*in_extension && *digits < SIZE_DIGITS_MAX => {
                        *value = *value * 16 + u64::from(digit);
                        *digits += 1;
                    }
                    _ if *in_extension => {}
                    (b';' | b' ' | b'\t' | b'\r', _) if *digits > 0 => *in_extension = true,
                    _ => return Err(Malformed),
                }
            }
            // Not reached: chunks are stepped over by the caller.
            Self::Chunk { .. } => return Err(Malformed),
            Self::ChunkEnd => match byte {
                b'\r' => {}
                b'\n' => *self = Self::new(),
                _ => return Err(Malformed),
            },
            Self::Trailers { bytes, line_is_empty } => {
                *bytes += 1;
                match byte {
                    _ if *bytes > LINE_BYTES_MAX => return Err(Malformed),
                    b'\n' if *line_is_empty => return Ok(true),
                    b'\n' => *line_is_empty = true,
                    b'\r' => {}
                    _ => *line_is_empty = false,
                }
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_after_the_trailers_and_not_before() {
        let body = b"5;x=1\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\nGET";
        assert_eq!(Chunked::new().advance(body), Ok(Advance::Ended(body.len() - 3)));
        assert_eq!(Chunked::new().advance(&body[..body.len() - 4]), Ok(Advance::All));
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        for body in [&b"x\r\n"[..], b"\r\n", b"1\r\nab", b"11111111111111111\r\n"] {
            assert_eq!(Chunked::new().advance(body), Err(Malformed), "{body:?}");
        }
    }
}
