//! What is said in the log of connections that came to nothing: the first at once, then how many there were, so that a
//! thousand of them take a line a minute. Pure: time comes in.

use std::time::Duration;

use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Refusals {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    /// Counts one; how many to tell of, when it is time to.
    pub(super) fn count(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.said_at.is_some_and(|said_at| now < said_at + PAUSE) {
            return None;
        }
        self.said_at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute() {
        let (mut refusals, begun) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.count(begun), Some(1));
        for second in 1..60 {
            assert_eq!(refusals.count(begun + Duration::from_secs(second)), None);
        }
        assert_eq!(refusals.count(begun + PAUSE), Some(60));
    }
}
