//! Amounts of memory: `512m`.

use super::{ParseError, is_negative};
use crate::resources::MEMORY_BYTES_MAX;

const ACCEPTED: &str = "write it in bytes or like 512m, 1.5g or 64MiB";

/// Bytes, with docker's suffixes b, k, m, g, t; all units are binary.
pub fn memory(text: &str) -> Result<u64, ParseError> {
    let refuse = |wrong: &str| ParseError::new("amount of memory", text, wrong, ACCEPTED);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if is_negative(text) {
        return Err(refuse("it is negative"));
    }
    if !number.starts_with(|c: char| c.is_ascii_digit()) || number.ends_with('.') || number.matches('.').count() > 1 {
        return Err(refuse("it is not a number with a unit"));
    }
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(refuse("its unit is not one of b, k, m, g and t")),
    };
    bytes(number, shift).ok_or_else(|| refuse("it is more than any machine has"))
}

fn bytes(number: &str, shift: u32) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u128>().ok().filter(|whole| *whole <= u128::from(MEMORY_BYTES_MAX))? << shift;
    // Nine decimals of a tebibyte are a thousand bytes: nobody counts finer.
    let decimals = fraction.len().min(9);
    let fraction: u128 = if decimals == 0 { 0 } else { fraction[..decimals].parse().ok()? };
    let part = (fraction << shift) / 10u128.pow(u32::try_from(decimals).ok()?);
    u64::try_from(whole + part).ok().filter(|total| *total <= MEMORY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn accepted() {
        for (text, expected) in [
            ("0", 0),
            ("1024", 1024),
            ("100b", 100),
            ("64k", 64 << 10),
            ("512m", 512 << 20),
            ("512M", 512 << 20),
            ("64MiB", 64 << 20),
            ("64 MB", 64 << 20),
            ("1g", 1 << 30),
            ("1.5g", 3 << 29),
            ("0.1k", 102),
            ("2t", 2 << 40),
        ] {
            assert_eq!(memory(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn refused() {
        check::refused(memory, &["", "m", ".5g", "1.g", "-1g", "1x", "1 gb b", "1..2g", "1,5g", "g1", "99999999999t"]);
        check::refused(memory, &["340282366920938463463374607431768211456", "1125899906842625", "1025t"]);
        check::says(
            memory,
            "12 apples",
            r#"invalid amount of memory "12 apples": its unit is not one of b, k, m, g and t; write it in bytes or like 512m, 1.5g or 64MiB"#,
        );
    }
}
