//! Single fields of a message.

use std::{str::FromStr, time::Duration};

use super::{ConvertError, Result};
use crate::{
    parse::{ParseError, Quoted},
    time::{DURATION_MAX, Timestamp},
};

/// A message that must be there.
pub(super) fn required<W, D: TryFrom<W, Error = ConvertError>>(field: &str, wire: Option<W>) -> Result<D> {
    present(field, wire).and_then(|wire| within(field, wire))
}

pub(super) fn present<W>(field: &str, wire: Option<W>) -> Result<W> {
    wire.ok_or_else(|| ConvertError::new(field, "is missing"))
}

pub(super) fn optional<W, D: TryFrom<W, Error = ConvertError>>(field: &str, wire: Option<W>) -> Result<Option<D>> {
    wire.map(|wire| within(field, wire)).transpose()
}

fn within<W, D: TryFrom<W, Error = ConvertError>>(field: &str, wire: W) -> Result<D> {
    D::try_from(wire).map_err(|error| error.within(field))
}

pub(super) fn list<W, D: TryFrom<W, Error = ConvertError>>(field: &str, wire: Vec<W>) -> Result<Vec<D>> {
    let each = wire.into_iter().enumerate();
    each.map(|(place, item)| D::try_from(item).map_err(|error| error.within(&format!("{field}[{place}]")))).collect()
}

/// A list of texts that are parsed as a user's would be.
pub(super) fn parsed<T>(
    field: &str,
    texts: &[String],
    parse: fn(&str) -> std::result::Result<T, ParseError>,
) -> Result<Vec<T>> {
    let each = texts.iter().enumerate();
    each.map(|(place, text)| {
        parse(text).map_err(|error| ConvertError::new(&format!("{field}[{place}]"), format!("is not valid: {error}")))
    })
    .collect()
}

/// An id, an address: anything with one text form.
pub(super) fn text<T: FromStr>(field: &str, text: &str, kind: &str) -> Result<T> {
    text.parse().map_err(|_| ConvertError::new(field, format!("is {}, which is not {kind}", Quoted(text))))
}

pub(super) fn id<T: FromStr>(field: &str, wire: &str) -> Result<T> {
    text(field, wire, "an id")
}

/// An enum: neither unspecified nor a value of some later version.
pub(super) fn choice<W: TryFrom<i32>, D: TryFrom<W, Error = ConvertError>>(field: &str, wire: i32) -> Result<D> {
    let known =
        W::try_from(wire).map_err(|_| ConvertError::new(field, format!("is {wire}, which is not known here")))?;
    within(field, known)
}

pub(super) fn port(field: &str, wire: u32) -> Result<u16> {
    u16::try_from(wire).map_err(|_| ConvertError::new(field, format!("is {wire}, which is above 65535")))
}

pub(super) fn at_most(field: &str, wire: u64, max: u64) -> Result<u64> {
    if wire <= max { Ok(wire) } else { Err(ConvertError::new(field, format!("is {wire}, which is above {max}"))) }
}

/// The wire has whole milliseconds; what is finer is cut, and nothing in the domain is.
pub(super) fn to_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn duration(field: &str, millis: u64) -> Result<Duration> {
    at_most(field, millis, to_millis(DURATION_MAX)).map(Duration::from_millis)
}

pub(super) fn timestamp(field: &str, millis: u64) -> Result<Timestamp> {
    at_most(field, millis, Timestamp::MAX.millis()).map(Timestamp::from_millis)
}
