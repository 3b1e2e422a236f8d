//! Parts of the sentences that a rollout's message is made of.

use std::time::Duration;

use muster_proto::{
    rollout::{Rollout, RolloutFailure},
    service::Service,
    task::Slot,
};

/// The first failure in a sentence's half: `web.1: ended with exit code 1`. A rollback also keeps what failed before it
/// began, and speaks of its own.
pub(super) fn first_failure(service: &Service, rollout: &Rollout) -> String {
    let is_its_own = |failure: &&RolloutFailure| !rollout.state.is_rollback() || failure.at > rollout.started_at;
    match rollout.failures.iter().find(is_its_own) {
        Some(failure) => format!("first {}.{}: {}", service.spec.name, failure.slot, failure.error),
        None => "no task says why".to_owned(),
    }
}

/// `web.4 and web.7`, or the first ones and how many more.
pub(super) fn names(service: &str, slots: &[Slot]) -> String {
    let shown: Vec<String> = slots.iter().take(NAMES_MAX).map(|slot| format!("{service}.{slot}")).collect();
    match (shown.as_slice(), slots.len() - shown.len()) {
        ([first @ .., last], 0) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        (all, 0) => all.join(", "),
        (all, more) => format!("{} and {more} more", all.join(", ")),
    }
}

/// What a sentence holds.
const NAMES_MAX: usize = 4;

pub(super) fn shown(span: Duration) -> String {
    let (seconds, millis) = (span.as_secs(), span.subsec_millis());
    match (seconds, millis) {
        (0, millis) => format!("{millis} ms"),
        (seconds, 0) if seconds % 60 == 0 => format!("{} min", seconds / 60),
        (seconds, _) => format!("{seconds} s"),
    }
}
