//! Shares of cores.

use crate::resources::NANO_CPUS_PER_CORE;

/// `0.5`: cores, with the decimals they need.
#[must_use]
pub fn cpus(nano: u64) -> String {
    let (whole, fraction) = (nano / NANO_CPUS_PER_CORE, nano % NANO_CPUS_PER_CORE);
    if fraction == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{fraction:09}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn cores_are_read_back() {
        for (nano, expected) in [(0, "0"), (500_000_000, "0.5"), (2_000_000_000, "2"), (1, "0.000000001")] {
            assert_eq!(cpus(nano), expected);
            assert_eq!(parse::cpus(expected), Ok(nano));
        }
    }
}
