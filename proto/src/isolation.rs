//! What becomes of a task whose node cannot reach the managers.
//!
//! Kept, it may run beside the replacement that the managers start elsewhere. Stopped, there are never two at once: the
//! agent stops it some time after its lease ran out, and the managers replace it only once that must have happened.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnIsolation {
    /// It goes on; nothing is lost to a broken network.
    #[default]
    Keep,
    /// At most one, everywhere: it stops when the node's lease and [`ISOLATION_SLACK`] are over, counted from the sending
    /// of the last heartbeat that was answered.
    Stop,
}

/// How much longer than its lease an agent lets such tasks run, and the managers wait in turn. A network that was cut for
/// less than a lease restarts none of them: between the last answer before the cut and the first after it there is more
/// than the cut, up to a heartbeat and its answer, and a second in which the kernel does not ask again where the other
/// host is.
pub const ISOLATION_SLACK: Duration = Duration::from_secs(1);

/// What the managers wait beyond the lease and the stop grace period: what the agent does, and 2 s in which the kill
/// itself takes time and clocks do not run alike.
pub const ISOLATION_MARGIN: Duration = ISOLATION_SLACK.saturating_add(Duration::from_secs(2));

/// As flags take it.
impl fmt::Display for OnIsolation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            OnIsolation::Keep => "keep",
            OnIsolation::Stop => "stop",
        })
    }
}
