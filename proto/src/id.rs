//! Object ids: 128 random bits shown as 25 characters of base 36, the shape the Docker Engine API uses.
//!
//! The bits are drawn by the leader (or a seeded source in simulation); this file only carries, shows and reads them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Length of an id as text: 36^25 > 2^128 > 36^24.
pub const ID_TEXT_LEN: usize = 25;

/// In the metadata of a call: its [`RequestId`]. Repeated under the same, the call is carried out once and answered as it
/// was first.
pub const REQUEST_ID_METADATA: &str = "muster-request-id";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id is {ID_TEXT_LEN} characters of 0-9 and a-z")]
pub struct InvalidId;

/// Digits that fit 64 bits, on which a processor divides many times faster than on 128.
const HALF_DIGITS: usize = 12;
const HALF: u128 = 36_u128.pow(12);

fn write_base36(bits: u128, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [b'0'; ID_TEXT_LEN];
    let mut rest = bits;
    for digits in text.rchunks_mut(HALF_DIGITS) {
        let mut half = u64::try_from(rest % HALF).expect("a remainder of 36^12 fits");
        rest /= HALF;
        for byte in digits.iter_mut().rev() {
            let digit = u8::try_from(half % 36).expect("a remainder of 36 fits");
            *byte = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            half /= 36;
        }
    }
    out.write_str(std::str::from_utf8(&text).expect("base 36 is ASCII"))
}

fn read_base36(text: &str) -> Result<u128, InvalidId> {
    if text.len() != ID_TEXT_LEN {
        return Err(InvalidId);
    }
    text.bytes().try_fold(0u128, |bits, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            _ => return Err(InvalidId),
        };
        bits.checked_mul(36).and_then(|b| b.checked_add(u128::from(digit))).ok_or(InvalidId)
    })
}

macro_rules! object_id {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            #[must_use]
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            #[must_use]
            pub const fn bits(self) -> u128 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_base36(self.0, out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                read_base36(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

object_id! {
    /// A cluster: drawn at `init`, on every label and in every certificate.
    ClusterId,
    /// A node, for as long as it is a member.
    NodeId,
    /// A service.
    ServiceId,
    /// A join token; its secret is derived from it.
    TokenId,
    /// One request of a user: what is repeated under the same id is done once.
    RequestId,
    /// A task: one attempt to fill one slot on one node.
    TaskId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bits_agree_at_the_ends() {
        for bits in [0, 1, 35, 36, HALF - 1, HALF, HALF * HALF - 1, HALF * HALF, u128::MAX] {
            let id = TaskId::from_bits(bits);
            assert_eq!(id.to_string().len(), ID_TEXT_LEN);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn text_order_is_bit_order() {
        assert!(TaskId::from_bits(9).to_string() < TaskId::from_bits(10).to_string());
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "abc", "zzzzzzzzzzzzzzzzzzzzzzzzz", "000000000000000000000000A"] {
            assert_eq!(text.parse::<TaskId>(), Err(InvalidId), "{text}");
        }
    }
}
