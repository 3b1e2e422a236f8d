//! Durations in Go's syntax: `1m30s`.

use std::time::Duration;

use super::{ParseError, is_negative};
use crate::time::DURATION_MAX;

const ACCEPTED: &str = "write it like 10s, 1m30s or 500ms";

/// Units and their nanoseconds; a unit stands before any that is its prefix.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// `10s`, `1m30s`, `1.5h`, `500ms`; `0` alone needs no unit. Whole milliseconds only: that is what the wire carries.
pub fn duration(text: &str) -> Result<Duration, ParseError> {
    let refuse = |wrong: &str| ParseError::new("duration", text, wrong, ACCEPTED);
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if is_negative(text) {
        return Err(refuse("it is negative"));
    }
    if text.is_empty() {
        return Err(refuse("it is empty"));
    }
    let mut rest = text;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        if number.bytes().all(|b| b == b'.') || number.matches('.').count() > 1 {
            return Err(refuse("it is not a number followed by a unit"));
        }
        if after.is_empty() {
            return Err(refuse("it has no unit"));
        }
        let Some((unit, scale)) = UNITS.iter().find(|(unit, _)| after.starts_with(unit)) else {
            return Err(refuse("its unit is not one of ms, s, m and h"));
        };
        nanos = scaled(number, *scale)
            .and_then(|part| nanos.checked_add(part))
            .filter(|sum| *sum <= DURATION_MAX.as_nanos())
            .ok_or_else(|| refuse("it is longer than ten years"))?;
        rest = &after[unit.len()..];
    }
    if !nanos.is_multiple_of(1_000_000) {
        return Err(refuse("it is finer than a millisecond"));
    }
    let millis = u64::try_from(nanos / 1_000_000).expect("bounded by DURATION_MAX above");
    Ok(Duration::from_millis(millis))
}

/// Digits with at most one point, times `scale`; parts smaller than one are dropped. None when it is too large.
fn scaled(number: &str, scale: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(u128::from(scale))?;
    let mut place = u128::from(scale);
    for digit in fraction.bytes() {
        total = total.checked_add(u128::from(digit - b'0') * place / 10)?;
        place /= 10;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn accepted() {
        let millis = |text| duration(text).map(|d| d.as_millis());
        for (text, expected) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1.5s", 1_500),
            (".5m", 30_000),
            ("1.s", 1_000),
            ("1h0.25m", 3_615_000),
            ("1000000ns", 1),
            ("2000us", 2),
            ("1s1s", 2_000),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refused() {
        check::refused(
            duration,
            &["", "s", ".s", "1", "1s2", "-1s", "1.2.3s", "1d", "1 s", " 1s", "1m 30s", "1us", "1e3s", "٣s", "+1s"],
        );
        check::refused(duration, &["99999999h", "340282366920938463463374607431768211456s", "87601h"]);
    }

    #[test]
    fn sentences() {
        check::says(duration, "10", r#"invalid duration "10": it has no unit; write it like 10s, 1m30s or 500ms"#);
        check::says(
            duration,
            "3d",
            r#"invalid duration "3d": its unit is not one of ms, s, m and h; write it like 10s, 1m30s or 500ms"#,
        );
    }
}
