//! How long ago, in words.

use std::time::Duration;

/// `Less than a second`, `5 seconds`, `About a minute`, `3 hours`, as docker says it; put ` ago` behind it.
#[must_use]
pub fn age(since: Duration) -> String {
    let seconds = since.as_secs();
    let (minutes, hours) = (seconds / 60, seconds.saturating_add(1_800) / 3_600);
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..=59, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..=59, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..=47) => format!("{hours} hours"),
        (.., 48..=335) => format!("{} days", hours / 24),
        (.., 336..=1_439) => format!("{} weeks", hours / 24 / 7),
        (.., 1_440..=17_519) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        const HOUR: u64 = 3_600;
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3_599, "59 minutes"),
            (3_600, "About an hour"),
            (2 * HOUR, "2 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (13 * 24 * HOUR, "13 days"),
            (14 * 24 * HOUR, "2 weeks"),
            (61 * 24 * HOUR, "2 months"),
            (731 * 24 * HOUR, "2 years"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), expected, "{seconds}");
        }
        assert_eq!(age(Duration::from_millis(999)), "Less than a second");
        assert!(age(Duration::MAX).ends_with("years"));
    }
}
