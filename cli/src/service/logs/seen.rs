//! How far each task's output has been shown, so that a stream that broke is taken up where it ended: nothing twice, and
//! nothing left out. Pure.
//!
//! A task's lines are told apart by the time the executor stamped on them. Several may have the same, so those shown of
//! the latest are counted.

use std::collections::BTreeMap;

use muster_proto::{time::Timestamp, v1};

#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<String, Latest>);

#[derive(Debug)]
struct Latest {
    /// RFC 3339 with a fixed number of digits, so that text order is the order of time.
    timestamp: String,
    lines: u32,
    /// After a stream was opened again: what comes up to the latest was shown, this many lines of the latest too.
    again: Option<u32>,
}

impl Seen {
    /// Whether the line is to be shown. A line without a time cannot be told from others.
    pub(super) fn is_new(&mut self, line: &v1::LogLine) -> bool {
        if line.timestamp.is_empty() || line.notice {
            return true;
        }
        let Some(latest) = self.0.get_mut(&line.task_id) else {
            let latest = Latest { timestamp: line.timestamp.clone(), lines: 1, again: None };
            self.0.insert(line.task_id.clone(), latest);
            return true;
        };
        match (line.timestamp.cmp(&latest.timestamp), &mut latest.again) {
            (std::cmp::Ordering::Greater, _) => {
                *latest = Latest { timestamp: line.timestamp.clone(), lines: 1, again: None };
                true
            }
            (std::cmp::Ordering::Less, Some(_)) => false,
            (std::cmp::Ordering::Equal, Some(left)) if *left > 0 => {
                *left -= 1;
                false
            }
            (std::cmp::Ordering::Equal, _) => {
                latest.lines += 1;
                true
            }
            // Stdout and stderr of a container may overtake each other.
            (std::cmp::Ordering::Less, None) => true,
        }
    }

    /// The stream is opened again: from when on it is to tell. None where nothing with a time was shown.
    pub(super) fn resume(&mut self) -> Option<Timestamp> {
        for latest in self.0.values_mut() {
            latest.again = Some(latest.lines);
        }
        self.0.values().filter_map(|latest| at(&latest.timestamp)).min()
    }
}

fn at(timestamp: &str) -> Option<Timestamp> {
    let time = humantime::parse_rfc3339_weak(timestamp).ok()?;
    Some(Timestamp::EPOCH + time.duration_since(std::time::UNIX_EPOCH).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(task: &str, nanos: u32) -> v1::LogLine {
        v1::LogLine {
            task_id: task.to_owned(),
            timestamp: format!("2026-11-22T00:00:00.{nanos:09}Z"),
            ..v1::LogLine::default()
        }
    }

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let mut seen = Seen::default();
        assert_eq!(seen.resume(), None);
        for line in [line("a", 5_000_000), line("a", 7_000_000), line("a", 7_000_000), line("b", 6_000_000)] {
            assert!(seen.is_new(&line));
        }
        assert!(seen.is_new(&line("a", 6_999_999)), "streams of one container overtake each other");
        assert_eq!(seen.resume(), Some(Timestamp::from_millis(1_795_305_600_006)), "of the task that is behind");
        for (task, nanos, expected) in [
            ("a", 5_000_000, false),
            ("a", 7_000_000, false),
            ("b", 6_000_000, false),
            ("a", 7_000_000, false),
            ("a", 7_000_000, true),
            ("b", 6_000_001, true),
            ("c", 1, true),
            ("a", 8_000_000, true),
            ("a", 7_999_999, true),
        ] {
            assert_eq!(seen.is_new(&line(task, nanos)), expected, "{task} {nanos}");
        }
    }

    #[test]
    fn lines_without_a_time_are_shown() {
        let mut seen = Seen::default();
        let untimed = v1::LogLine { task_id: "a".to_owned(), ..v1::LogLine::default() };
        assert!(seen.is_new(&untimed) && seen.is_new(&untimed));
        let notice = v1::LogLine { notice: true, ..line("a", 1) };
        assert!(seen.is_new(&notice) && seen.is_new(&notice));
        assert_eq!(seen.resume(), None);
    }
}
