//! What the demo prints: each command as a user would type it and where, what came of it, and how long it took.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Steps {
    began: Instant,
    step: Instant,
}

impl Steps {
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), step: Instant::now() }
    }

    /// Says what is done next, and on which node.
    pub(super) fn next(&mut self, place: &str, text: &str) {
        say!("\n{place}$ {text}");
        self.step = Instant::now();
    }

    pub(super) fn done(&self, text: &str) {
        say!("  {text}  ({:.2} s)", self.step.elapsed().as_secs_f64());
    }

    pub(super) fn all(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Each line a little to the right, as what a command printed.
pub(super) fn show(printed: &str) {
    for line in printed.lines() {
        say!("  {line}");
    }
}
