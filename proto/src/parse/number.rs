//! Numbers of replicas, and ratios.

use super::ParseError;
use crate::service::REPLICAS_MAX;

/// `3`.
pub fn replicas(text: &str) -> Result<u32, ParseError> {
    let refuse = |wrong: &str| {
        ParseError::new("number of replicas", text, wrong, format!("write a whole number from 0 to {REPLICAS_MAX}"))
    };
    if text.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())) {
        return Err(refuse("it is negative"));
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(refuse("it is not a whole number"));
    }
    text.parse().ok().filter(|count| *count <= REPLICAS_MAX).ok_or_else(|| refuse("it is too large"))
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
    }
}
