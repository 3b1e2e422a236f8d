//! Amounts of memory.

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// `512MiB`, `1.5GiB`: four digits at most, in the largest unit that leaves a whole one.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let decimals = match size {
        _ if size >= 1_000.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 10.0 => 2,
        _ => 3,
    };
    let mut text = format!("{size:.decimals$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text + UNITS[unit]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (size, expected) in [
            (0, "0B"),
            (1_000, "1000B"),
            (1 << 10, "1KiB"),
            (512 << 20, "512MiB"),
            (3 << 29, "1.5GiB"),
            (2_097_741_824, "1.954GiB"),
            (1 << 50, "1PiB"),
            (u64::MAX, "16384PiB"),
        ] {
            assert_eq!(bytes(size), expected);
        }
    }
}
