//! Whole numbers, and ratios.

use std::{fmt::Display, ops::RangeInclusive};

use super::{ParseError, is_negative};
use crate::service::REPLICAS_MAX;

/// `3`, within the bounds of what is counted.
pub fn whole<N>(text: &str, bounds: RangeInclusive<N>) -> Result<N, ParseError>
where
    N: Copy + Display + PartialOrd + TryFrom<u64>,
{
    bounded("number", text, bounds)
}

/// `3`.
pub fn replicas(text: &str) -> Result<u32, ParseError> {
    bounded("number of replicas", text, 0..=REPLICAS_MAX)
}

fn bounded<N>(what: &'static str, text: &str, bounds: RangeInclusive<N>) -> Result<N, ParseError>
where
    N: Copy + Display + PartialOrd + TryFrom<u64>,
{
    let (least, most) = (*bounds.start(), *bounds.end());
    let refuse = |wrong| ParseError::new(what, text, wrong, format!("write a whole number from {least} to {most}"));
    if is_negative(text) {
        return Err(refuse("it is negative"));
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse("it is not a whole number"));
    }
    let number = text.parse::<u64>().ok().and_then(|number| N::try_from(number).ok());
    match number.filter(|number| *number <= most) {
        Some(number) if number < least => Err(refuse("it is too small")),
        Some(number) => Ok(number),
        None => Err(refuse("it is too large")),
    }
}

/// `web=5`, for `service scale`: the service and its number of replicas.
pub fn scale(text: &str) -> Result<(String, u32), ParseError> {
    let refuse = |wrong: String| ParseError::new("scale", text, wrong, "write it like web=5");
    let Some((service, count)) = text.split_once('=') else {
        return Err(refuse("it has no =".to_owned()));
    };
    if service.is_empty() {
        return Err(refuse("it names no service".to_owned()));
    }
    let count = replicas(count).map_err(|error| refuse(format!("in the number of replicas, {}", error.wrong)))?;
    Ok((service.to_owned(), count))
}

/// `0.2`: a share from 0 to 1.
pub fn ratio(text: &str) -> Result<f32, ParseError> {
    let refuse = |wrong: &str| ParseError::new("ratio", text, wrong, "write a number from 0 to 1, like 0.2");
    if is_negative(text) {
        return Err(refuse("it is negative"));
    }
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let ratio: f32 =
        if plain { text.parse().ok() } else { None }.ok_or_else(|| refuse("it is not a decimal number"))?;
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err(refuse("it is above 1")) }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn counts() {
        assert_eq!(replicas("0"), Ok(0));
        assert_eq!(replicas("10000"), Ok(10_000));
        check::refused(replicas, &["", "-1", "-", "1.5", "three", "10001", "99999999999999999999", "+1", " 1"]);
        check::says(
            replicas,
            "-1",
            r#"invalid number of replicas "-1": it is negative; write a whole number from 0 to 10000"#,
        );
    }

    #[test]
    fn whole_numbers_within_bounds() {
        assert_eq!(whole("1", 1..=u16::MAX), Ok(1));
        assert_eq!(whole("18446744073709551615", 0..=u64::MAX), Ok(u64::MAX));
        let says = |text: &str, wrong: &str| {
            let expected = format!("invalid number {text:?}: {wrong}; write a whole number from 1 to 500");
            check::says(|text| whole(text, 1..=500_u32), text, &expected);
        };
        says("-1", "it is negative");
        says("-0.5", "it is negative");
        says("1.5", "it is not a whole number");
        says("--force", "it is not a whole number");
        says("0", "it is too small");
        says("501", "it is too large");
        says("4294967296", "it is too large");
        says("99999999999999999999", "it is too large");
    }

    #[test]
    fn scales() {
        assert_eq!(scale("web=5"), Ok(("web".to_owned(), 5)));
        check::refused(scale, &["", "web", "=5", "web=", "web=-1", "web=5=6"]);
    }

    #[test]
    fn ratios() {
        assert_eq!(ratio("0"), Ok(0.0));
        assert_eq!(ratio(".5"), Ok(0.5));
        assert_eq!(ratio("1"), Ok(1.0));
        check::refused(ratio, &["", ".", "-0.1", "1.1", "NaN", "inf", "1e-3", "20%"]);
        check::says(ratio, "-0.5", r#"invalid ratio "-0.5": it is negative; write a number from 0 to 1, like 0.2"#);
    }
}
