//! One record of the log's store: its bytes under a checksum that covers its key too, so that a record in another's
//! place is noticed as well.
//!
//! ```text
//! crc32 (4) | format (2) | parts (2) | payload
//! ```
//!
//! `format` is that of the newest command inside; it is read before the payload, so that a muster too old for it can
//! say so instead of failing to decode.

/// Longer payloads go on in further records, so that what is read at once is bounded.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 32 << 10;

const HEADER_BYTES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) format: u16,
    /// How many records the whole payload takes.
    pub(crate) parts: u16,
    pub(crate) payload: &'a [u8],
}

pub(crate) fn seal(key: &[u8], record: Record<'_>) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER_BYTES + record.payload.len());
    sealed.extend([0; 4]);
    sealed.extend(record.format.to_be_bytes());
    sealed.extend(record.parts.to_be_bytes());
    sealed.extend(record.payload);
    let checksum = checksum(key, &sealed[4..]);
    sealed[..4].copy_from_slice(&checksum.to_be_bytes());
    sealed
}

/// None when it is damaged.
pub(crate) fn open<'a>(key: &[u8], sealed: &'a [u8]) -> Option<Record<'a>> {
    let (expected, rest) = sealed.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*expected) != checksum(key, rest) {
        return None;
    }
    let (format, rest) = rest.split_first_chunk::<2>()?;
    let (parts, payload) = rest.split_first_chunk::<2>()?;
    Some(Record { format: u16::from_be_bytes(*format), parts: u16::from_be_bytes(*parts), payload })
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'static> = Record { format: 1, parts: 1, payload: b"payload" };

    #[test]
    fn any_changed_byte_shows() {
        let sealed = seal(b"key", RECORD);
        assert_eq!(open(b"key", &sealed), Some(RECORD));
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(open(b"key", &changed), None, "byte {place}");
        }
    }

    #[test]
    fn a_record_belongs_to_its_key() {
        assert_eq!(open(b"other", &seal(b"key", RECORD)), None);
    }

    #[test]
    fn a_cut_record_shows() {
        let sealed = seal(b"key", RECORD);
        for length in 0..sealed.len() {
            assert_eq!(open(b"key", &sealed[..length]), None, "{length} bytes");
        }
    }
}
