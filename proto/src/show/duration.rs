//! Durations.

use std::{fmt::Write, time::Duration};

/// `1m30s`, `500ms`, `1.5s`, `2h`: the form that flags take, down to the millisecond.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if seconds == 0 {
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let mut text = String::new();
    let parts = [(seconds / 3_600, 'h'), (seconds / 60 % 60, 'm')];
    for (count, unit) in parts.into_iter().filter(|(count, _)| *count > 0) {
        write!(text, "{count}{unit}").expect("a String takes everything");
    }
    match (seconds % 60, millis) {
        (0, 0) => {}
        (seconds, 0) => write!(text, "{seconds}s").expect("a String takes everything"),
        (seconds, millis) => {
            let fraction = format!("{millis:03}");
            write!(text, "{seconds}.{}s", fraction.trim_end_matches('0')).expect("a String takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{parse, time::DURATION_MAX};

    #[test]
    fn forms() {
        for (millis, expected) in [
            (0, "0s"),
            (500, "500ms"),
            (1_500, "1.5s"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (3_661_001, "1h1m1.001s"),
            (7_200_020, "2h0.02s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }

    proptest! {
        #[test]
        fn every_duration_is_read_back(millis in 0..=u64::try_from(DURATION_MAX.as_millis()).expect("fits")) {
            let shown = Duration::from_millis(millis);
            prop_assert_eq!(parse::duration(&duration(shown)), Ok(shown));
        }
    }
}
