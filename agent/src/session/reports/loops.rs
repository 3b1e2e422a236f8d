//! Slots whose tasks fail soon after they began. Each attempt is a task of its own with a handful of
//! statuses, and each status told is an entry in the managers' log: so from the first such end on, all that there is to
//! tell of the slot is told together, once in [`RestartPolicy::LOOP_PAUSE`]. What comes in between is not told; the last
//! status says it. Where a rollout watches the slot, the managers reckon with it.
//!
//! Only the outbox asks; who ended, and whether anybody had asked for it, it is told by the tasks. Forgotten with this
//! agent: the next one learns of a loop when it meets it.

use std::{collections::BTreeMap, time::Duration};

use muster_proto::{
    id::ServiceId,
    restart::RestartPolicy,
    task::{Slot, TaskStatus},
};
use tokio::time::Instant;

use super::{Told, is_decisive};

/// Words, and that a container is gone, wait longer where nothing else is told: they must not take the second of a state
/// that managers decide by.
const LOOP_WORDS_PAUSE: Duration = Duration::from_secs(2);

/// A slot of a service, on this node.
pub(crate) type Place = (ServiceId, Slot);

#[derive(Debug)]
struct Crash {
    at: Instant,
    /// When anything was last told of the slot.
    told: Option<Instant>,
}

/// Bounded by the ends within [`RestartPolicy::LOOP_MEMORY`].
#[derive(Debug, Default)]
pub(super) struct Loops(BTreeMap<Place, Crash>);

impl Loops {
    pub(super) fn crashed(&mut self, place: Place, now: Instant) {
        self.0.retain(|_, crash| crash.at + RestartPolicy::LOOP_MEMORY > now);
        self.0.entry(place).or_insert(Crash { at: now, told: None }).at = now;
    }

    pub(super) fn ran_stably(&mut self, place: Place) {
        self.0.remove(&place);
    }

    pub(super) fn has(&self, place: Place) -> bool {
        self.0.contains_key(&place)
    }

    /// When the status may be told that a task has now; None: at once. `told` is what was told of that task.
    pub(super) fn due(&self, place: Place, status: &TaskStatus, told: Option<&Told>, now: Instant) -> Option<Instant> {
        let crash = self.0.get(&place).filter(|crash| crash.at + RestartPolicy::LOOP_MEMORY > now)?;
        let decides = is_decisive(status.state) && told.is_none_or(|told| told.state != status.state);
        let pause = if decides { RestartPolicy::LOOP_PAUSE } else { LOOP_WORDS_PAUSE };
        crash.told.map(|told| told + pause)
    }

    pub(super) fn told(&mut self, place: Place, now: Instant) {
        if let Some(crash) = self.0.get_mut(&place) {
            crash.told = Some(now);
        }
    }
}
