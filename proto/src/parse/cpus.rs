//! Shares of cores: `0.5`.

use super::{ParseError, is_negative};
use crate::resources::{NANO_CPUS_MAX, NANO_CPUS_PER_CORE};

const ACCEPTED: &str = "write it in cores, like 0.5 or 2";

/// Cores as nanocpus: at most nine decimals.
pub fn cpus(text: &str) -> Result<u64, ParseError> {
    let refuse = |wrong: &str| ParseError::new("number of cpus", text, wrong, ACCEPTED);
    if is_negative(text) {
        return Err(refuse("it is negative"));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(refuse("it is not a decimal number"));
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err(refuse("it has more than nine decimals"));
    }
    let whole = if whole.is_empty() { Some(0) } else { whole.parse().ok() };
    let nanos: u64 = format!("{fraction:0<9}").parse().expect("nine digits");
    whole
        .and_then(|cores: u64| cores.checked_mul(NANO_CPUS_PER_CORE)?.checked_add(nanos))
        .filter(|total| *total <= NANO_CPUS_MAX)
        .ok_or_else(|| refuse("it is more than any machine has"))
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn accepted() {
        for (text, expected) in [
            ("0.5", 500_000_000),
            (".5", 500_000_000),
            ("2", 2_000_000_000),
            ("2.", 2_000_000_000),
            ("0.000000001", 1),
            ("1.5000000000000", 1_500_000_000),
        ] {
            assert_eq!(cpus(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refused() {
        check::refused(cpus, &["", ".", "-1", "1e3", "1/2", "0.0000000001", "1,5", "two", "1000001"]);
        check::refused(cpus, &["18446744073709551616", "NaN", "1.2.3", "+1"]);
        check::says(
            cpus,
            "half",
            r#"invalid number of cpus "half": it is not a decimal number; write it in cores, like 0.5 or 2"#,
        );
    }
}
