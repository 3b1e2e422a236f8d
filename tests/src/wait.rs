//! Waiting on a condition, with a deadline generous enough for a loaded machine.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

pub const DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

/// Looks until `look` finds something. Panics at the deadline with what was seen last.
pub fn until<T, S: Debug>(what: &str, mut look: impl FnMut() -> Result<T, S>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => {
                assert!(began.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain for {what}; last seen: {seen:#?}");
                thread::sleep(POLL);
            }
        }
    }
}
