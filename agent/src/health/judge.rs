//! What a row of probe results means. Pure: spans come in.
//!
//! Before the first pass probes come quickly, so that a task that is ready is noticed at once; failures among them
//! count no faster than they would at the check's own interval, so that being asked often kills nobody.

use std::time::Duration;

use muster_proto::health::HealthCheck;

/// Pause between probes of a task that has not passed yet, where its own interval is longer. Readiness is noticed in
/// half of it on average; an exec costs the engine some tens of milliseconds.
const PROBE_PAUSE_UNTIL_READY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Has not passed yet, and still may.
    Starting,
    Healthy,
    /// Was healthy; so many failures in a row since.
    Failing(u32),
    Unhealthy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Pass,
    Fail,
}

#[derive(Clone, Debug)]
pub(crate) struct Judge {
    interval: Duration,
    retries: u32,
    passed: bool,
    /// In a row.
    failures: u32,
    /// Since the container's start: no failure before it counts, until the first pass.
    counts_from: Duration,
}

impl Judge {
    pub(crate) fn new(check: &HealthCheck) -> Self {
        Self {
            interval: check.interval,
            retries: check.retries.max(1),
            passed: false,
            failures: 0,
            counts_from: check.start_period.saturating_add(check.interval),
        }
    }

    /// For a container that had passed before this agent began.
    pub(crate) fn resumed(check: &HealthCheck) -> Self {
        Self { passed: true, ..Self::new(check) }
    }

    /// `age` is the time since the container's start.
    pub(crate) fn hear(&mut self, reading: Reading, age: Duration) -> Verdict {
        match reading {
            Reading::Pass => {
                self.passed = true;
                self.failures = 0;
                return Verdict::Healthy;
            }
            Reading::Fail if self.passed => self.failures += 1,
            Reading::Fail if age >= self.counts_from => {
                self.failures += 1;
                self.counts_from = age.saturating_add(self.interval);
            }
            Reading::Fail => {}
        }
        if self.failures >= self.retries {
            Verdict::Unhealthy
        } else if self.passed {
            Verdict::Failing(self.failures)
        } else {
            Verdict::Starting
        }
    }

    /// From the end of one probe to the start of the next.
    pub(crate) fn pause(&self) -> Duration {
        if self.passed { self.interval } else { self.interval.min(PROBE_PAUSE_UNTIL_READY) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::health::Probe;
    use proptest::prelude::*;

    fn check(interval_s: u64, retries: u32, start_period_s: u64) -> HealthCheck {
        HealthCheck {
            probe: Probe::Tcp { port: 80 },
            interval: Duration::from_secs(interval_s),
            timeout: Duration::from_secs(1),
            retries,
            start_period: Duration::from_secs(start_period_s),
        }
    }

    /// Readings as `p` and `f`, one each pause; the verdicts in short.
    fn verdicts(mut judge: Judge, readings: &str) -> String {
        let mut age = Duration::ZERO;
        let mut shown = String::new();
        for reading in readings.chars() {
            let verdict = judge.hear(if reading == 'p' { Reading::Pass } else { Reading::Fail }, age);
            age += judge.pause();
            shown.push(match verdict {
                Verdict::Starting => 's',
                Verdict::Healthy => 'h',
                Verdict::Failing(failures) => char::from_digit(failures, 10).unwrap(),
                Verdict::Unhealthy => 'u',
            });
        }
        shown
    }

    #[test]
    fn table() {
        // Interval 1 s: two quick probes for each failure that counts.
        assert_eq!(verdicts(Judge::new(&check(1, 3, 0)), "ffffff"), "ssssss");
        assert_eq!(verdicts(Judge::new(&check(1, 3, 0)), "fffffff"), "ssssssu");
        assert_eq!(verdicts(Judge::new(&check(1, 3, 1)), "fffffffff"), "ssssssssu");
        assert_eq!(verdicts(Judge::new(&check(1, 3, 0)), "fffpffpfff"), "sssh12h12u");
        assert_eq!(verdicts(Judge::new(&check(1, 3, 60)), "ffffpfff"), "ssssh12u");
        assert_eq!(verdicts(Judge::resumed(&check(1, 2, 60)), "ff"), "1u");
        assert_eq!(verdicts(Judge::resumed(&check(1, 0, 0)), "f"), "u");
    }

    proptest! {
        /// However often it is asked: a task that never passed has at least start period + retries × interval.
        #[test]
        fn asking_often_kills_nobody(interval in 1u64..10, retries in 1u32..5, start in 0u64..10, step_ms in 1u64..2_000) {
            let check = check(interval, retries, start);
            let mut judge = Judge::new(&check);
            let mut age = Duration::ZERO;
            while judge.hear(Reading::Fail, age) != Verdict::Unhealthy {
                age += Duration::from_millis(step_ms);
            }
            prop_assert!(age >= check.start_period + check.interval * retries);
        }
    }
}
