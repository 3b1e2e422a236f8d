//! MessagePack by hand, as far as it takes to put bytes that are encoded already into a message, and to take them out
//! again as they are. What is written here is what rmp-serde writes with names; what is read may come from another
//! manager, so nothing in it is believed.

use rmp_serde::encode::Error;
use serde::{Deserialize, Serialize};

/// A map that stands for a struct, field by field.
pub(crate) struct Fields<'a>(&'a mut Vec<u8>);

impl<'a> Fields<'a> {
    /// So many must follow: fewer than sixteen, as all structs here have.
    pub(crate) fn of(count: u8, out: &'a mut Vec<u8>) -> Self {
        debug_assert!(count < 16);
        out.push(0x80 | count);
        Self(out)
    }

    /// The caller writes the value.
    pub(crate) fn named(&mut self, name: &str) -> &mut Vec<u8> {
        debug_assert!(name.len() < 32);
        self.0.push(0xa0 | u8::try_from(name.len()).unwrap_or_default());
        self.0.extend(name.as_bytes());
        self.0
    }

    pub(crate) fn field<T: Serialize>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        rmp_serde::encode::write_named(self.named(name), value)
    }
}

/// The head of an array; its elements follow.
pub(crate) fn array(count: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    match u16::try_from(count).map_err(|_| Error::UnknownLength)?.to_be_bytes() {
        [0, few] if few < 16 => out.push(0x90 | few),
        [high, low] => out.extend([0xdc, high, low]),
    }
    Ok(())
}

/// What is left of a message to be read, value by value. None, from any of them: it is not whole, or not what was
/// expected, and nothing more is to be read from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// A map that stands for a struct begins: so many names and values follow.
    pub(crate) fn map(&mut self) -> Option<usize> {
        self.open(Kind::Map).map(|values| values / 2)
    }

    /// So many elements follow.
    pub(crate) fn array(&mut self) -> Option<usize> {
        self.open(Kind::Array)
    }

    fn open(&mut self, kind: Kind) -> Option<usize> {
        let (head, rest) = head(self.0)?;
        self.0 = rest;
        (head.kind == kind).then_some(head.values)
    }

    pub(crate) fn name(&mut self) -> Option<&'a str> {
        rmp_serde::from_slice(self.value()?).ok()
    }

    pub(crate) fn read<T: Deserialize<'a>>(&mut self) -> Option<T> {
        rmp_serde::from_slice(self.value()?).ok()
    }

    /// The bytes of the next value, whatever it is.
    pub(crate) fn value(&mut self) -> Option<&'a [u8]> {
        // How many values are still to be passed over.
        let mut pending = 1_usize;
        let mut rest = self.0;
        while let Some(left) = pending.checked_sub(1) {
            let (head, after) = head(rest)?;
            // Each value takes a byte at least: more than there are bytes is no message.
            pending = left.checked_add(head.values).filter(|pending| *pending <= self.0.len())?;
            rest = after.get(head.bytes..)?;
        }
        let (value, rest) = self.0.split_at(self.0.len() - rest.len());
        self.0 = rest;
        Some(value)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Map,
    Array,
    Other,
}

/// What follows the first bytes of a value: so many bytes of its own, then so many values inside it.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: Kind,
    bytes: usize,
    values: usize,
}

fn head(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let own = |bytes: usize| Some((Head { kind: Kind::Other, bytes, values: 0 }, rest));
    let map = |count: usize, rest| Some((Head { kind: Kind::Map, bytes: 0, values: count.checked_mul(2)? }, rest));
    let array = |count: usize, rest| Some((Head { kind: Kind::Array, bytes: 0, values: count }, rest));
    let text = |(count, rest): (usize, _)| Some((Head { kind: Kind::Other, bytes: count, values: 0 }, rest));
    // The byte that says an extension's type counts to its own.
    let extension = |(count, rest): (usize, _)| text((count.checked_add(1)?, rest));
    match first {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => own(0),
        0xcc | 0xd0 => own(1),
        0xcd | 0xd1 | 0xd4 => own(2),
        0xd5 => own(3),
        0xca | 0xce | 0xd2 => own(4),
        0xd6 => own(5),
        0xcb | 0xcf | 0xd3 => own(8),
        0xd7 => own(9),
        0xd8 => own(17),
        0x80..=0x8f => map(usize::from(first & 0x0f), rest),
        0x90..=0x9f => array(usize::from(first & 0x0f), rest),
        0xa0..=0xbf => own(usize::from(first & 0x1f)),
        0xc4 | 0xd9 => text(length::<1>(rest)?),
        0xc5 | 0xda => text(length::<2>(rest)?),
        0xc6 | 0xdb => text(length::<4>(rest)?),
        0xc7 => extension(length::<1>(rest)?),
        0xc8 => extension(length::<2>(rest)?),
        0xc9 => extension(length::<4>(rest)?),
        0xdc => length::<2>(rest).and_then(|(count, rest)| array(count, rest)),
        0xdd => length::<4>(rest).and_then(|(count, rest)| array(count, rest)),
        0xde => length::<2>(rest).and_then(|(count, rest)| map(count, rest)),
        0xdf => length::<4>(rest).and_then(|(count, rest)| map(count, rest)),
        0xc1 => None,
    }
}

fn length<const BYTES: usize>(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<BYTES>()?;
    Some((length.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, Serialize)]
    enum Value {
        Nothing,
        Flag(bool),
        Whole(i64),
        Text(String),
        #[serde(serialize_with = "as_bytes")]
        Bytes(Vec<u8>),
        List(Vec<Value>),
        Table(BTreeMap<String, Value>),
    }

    fn as_bytes<S: serde::Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_bytes(bytes)
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nothing),
            any::<bool>().prop_map(Value::Flag),
            any::<i64>().prop_map(Value::Whole),
            any::<i8>().prop_map(|small| Value::Whole(small.into())),
            "[a-z]{0,300}".prop_map(Value::Text),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        ];
        leaf.prop_recursive(3, 40, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::List),
                prop::collection::btree_map("[a-z]{1,40}", inner, 0..20).prop_map(Value::Table),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_ends_where_the_next_begins(value in values(), after in prop::collection::vec(any::<u8>(), 0..9)) {
            let encoded = rmp_serde::to_vec_named(&value).unwrap();
            let all = [encoded.clone(), after.clone()].concat();
            let mut reader = Reader::of(&all);
            prop_assert_eq!(reader.value(), Some(&encoded[..]));
            prop_assert_eq!(reader.0, &after[..]);
            prop_assert_eq!(Reader::of(&encoded[..encoded.len() - 1]).value(), None);
        }

        #[test]
        fn nonsense_is_no_value_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut reader = Reader::of(&bytes);
            if let Some(value) = reader.value() {
                prop_assert_eq!([value, reader.0].concat(), bytes.clone());
            }
            let mut reader = Reader::of(&bytes);
            while reader.map().or_else(|| reader.array()).is_some() {
                reader.name();
            }
        }
    }

    #[derive(Serialize)]
    struct Both<'a> {
        first: u64,
        second: &'a [String],
    }

    #[test]
    fn what_is_written_by_hand_is_what_rmp_serde_writes_and_reads_back() {
        for count in [0, 1, 15, 16, 300] {
            let second: Vec<String> = (0..count).map(|number| format!("number {number}")).collect();
            let both = Both { first: 7, second: &second };
            let mut out = Vec::new();
            let mut fields = Fields::of(2, &mut out);
            fields.field("first", &7_u64).unwrap();
            let list = fields.named("second");
            array(count, list).unwrap();
            second.iter().for_each(|one| rmp_serde::encode::write_named(list, one).unwrap());
            assert_eq!(out, rmp_serde::to_vec_named(&both).unwrap());
            let mut reader = Reader::of(&out);
            assert_eq!((reader.map(), reader.name(), reader.read::<u64>()), (Some(2), Some("first"), Some(7)));
            assert_eq!((reader.name(), reader.array()), (Some("second"), Some(count)));
            assert!(second.iter().all(|one| reader.read::<&str>() == Some(one)));
            assert_eq!(reader.value(), None, "it is at the end");
        }
    }
}
