//! What becomes of a task whose node cannot reach the managers.
//!
//! Kept, it may run beside the replacement that the managers start elsewhere. Stopped, there are never two at once: the
//! agent stops it when its lease runs out, and the managers replace it only once that must have happened.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnIsolation {
    /// It goes on; nothing is lost to a broken network.
    #[default]
    Keep,
    /// At most one, everywhere: it stops when the node's lease runs out, counted from the sending of the last heartbeat
    /// that was answered.
    Stop,
}

/// What the managers wait beyond the lease and the stop grace period: the kill itself takes time too, and no two clocks
/// run alike.
pub const ISOLATION_MARGIN: Duration = Duration::from_secs(2);

/// As flags take it.
impl fmt::Display for OnIsolation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            OnIsolation::Keep => "keep",
            OnIsolation::Stop => "stop",
        })
    }
}
