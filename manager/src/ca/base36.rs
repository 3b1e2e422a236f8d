//! Bytes as text of 0-9 and a-z, of a length that depends only on how many bytes there are. Pure.
//!
//! Shorter than hexadecimal, and a double click selects it whole.

/// Most significant digit first.
pub(super) fn encode<const N: usize>(bytes: &[u8; N], digits: usize) -> String {
    let mut rest = *bytes;
    let mut text = vec![b'0'; digits];
    for digit in text.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut rest {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 36).expect("the remainder was under 36");
            remainder = value % 36;
        }
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[remainder as usize];
    }
    debug_assert!(rest.iter().all(|byte| *byte == 0), "{digits} digits are too few for {N} bytes");
    String::from_utf8(text).expect("base 36 is ASCII")
}

/// None: another character, or more than `N` bytes hold.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0u8; N];
    for character in text.bytes() {
        let digit = match character {
            b'0'..=b'9' => character - b'0',
            b'a'..=b'z' => character - b'a' + 10,
            _ => return None,
        };
        let mut carry = u32::from(digit);
        for byte in bytes.iter_mut().rev() {
            let value = u32::from(*byte) * 36 + carry;
            *byte = u8::try_from(value & 0xff).expect("masked");
            carry = value >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for bytes in [[0u8; 32], [0xff; 32], std::array::from_fn(|at| u8::try_from(at * 7).expect("small"))] {
            let text = encode(&bytes, 50);
            assert_eq!(text.len(), 50);
            assert_eq!(decode(&text), Some(bytes));
        }
        assert_eq!(encode(&[0, 36], 3), "010");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(decode::<32>(&"z".repeat(50)), None);
        assert_eq!(decode::<1>("74"), None);
        assert_eq!(decode::<1>("73"), Some([255]));
        assert_eq!(decode::<32>("A"), None);
    }
}
