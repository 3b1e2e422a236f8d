//! How often agents say that they live, and for how long that is good: the cluster's settings, stretched where there are
//! so many nodes that their heartbeats alone would keep the leader busy.
//!
//! Every session begins with them, and ends when they change. What the leader grants is never shorter than what an agent
//! may count on: after a change the longer lease counts on, until its agent has begun a session under the new terms.

use std::time::Duration;

use muster_proto::{
    cluster::{ClusterSpec, FormerLease},
    time::Timestamp,
};

use crate::state::State;

/// What a leader takes in beside its other work without anybody noticing: a heartbeat costs it some 20 µs.
pub const HEARTBEATS_PER_SECOND_MAX: u32 = 2_000;
/// For how long a new leader reckons with a lease that was granted before a change, beyond that lease. Generous, because
/// managers' clocks differ; it makes no difference but in the first lease after a leader change.
const FORMER_LEASE_SLACK: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub heartbeat: Duration,
    pub lease: Duration,
}

impl Terms {
    #[must_use]
    pub fn of(state: &State) -> Self {
        let nodes = u32::try_from(state.nodes.len()).unwrap_or(u32::MAX);
        match state.cluster() {
            Some(cluster) => Self::stretched(&cluster.spec, nodes),
            None => Self::stretched(&ClusterSpec::default(), nodes),
        }
    }

    /// Doubled until so many nodes send no more than [`HEARTBEATS_PER_SECOND_MAX`]. In steps that are that coarse because
    /// each ends all sessions once.
    #[must_use]
    pub fn stretched(spec: &ClusterSpec, nodes: u32) -> Self {
        let (mut heartbeat, mut lease) = (spec.heartbeat, spec.lease);
        // A period of none is refused before it gets here; doubled it would stay so.
        while !heartbeat.is_zero()
            && Duration::from_secs(nodes.into()) > heartbeat.saturating_mul(HEARTBEATS_PER_SECOND_MAX)
        {
            (heartbeat, lease) = (heartbeat.saturating_mul(2), lease.saturating_mul(2));
        }
        Self { heartbeat, lease }
    }
}

/// The longest lease that an agent may count on which the managers cannot hear.
#[must_use]
pub fn longest_lease(state: &State, now: Timestamp) -> Duration {
    let former = state.cluster().and_then(|cluster| cluster.former_lease.as_ref());
    let counts = former.filter(|former| now.since(former.changed_at) < former.lease.saturating_add(FORMER_LEASE_SLACK));
    Terms::of(state).lease.max(counts.map(|former| former.lease).unwrap_or_default())
}

/// What is to be remembered when terms that were `before` are so no more; None: nothing new.
pub(crate) fn former_lease(state: &State, before: Terms, now: Timestamp) -> Option<FormerLease> {
    let is_shorter = Terms::of(state).lease < before.lease;
    is_shorter.then(|| FormerLease { lease: before.lease.max(longest_lease(state, now)), changed_at: now })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stretched(heartbeat: Duration, nodes: u32) -> (Duration, Duration) {
        let spec = ClusterSpec { heartbeat, lease: heartbeat * 3, ..ClusterSpec::default() };
        let Terms { heartbeat, lease } = Terms::stretched(&spec, nodes);
        (heartbeat, lease)
    }

    #[test]
    fn large_clusters_beat_slower() {
        assert_eq!(stretched(SECOND, 0), (SECOND, SECOND * 3));
        assert_eq!(stretched(SECOND, 2_000), (SECOND, SECOND * 3));
        assert_eq!(stretched(SECOND, 2_001), (SECOND * 2, SECOND * 6));
        assert_eq!(stretched(SECOND, 10_000), (SECOND * 8, SECOND * 24));
        assert_eq!(stretched(SECOND * 5, 10_000), (SECOND * 5, SECOND * 15), "who beats slowly is not stretched");
        assert_eq!(stretched(SECOND / 10, 201), (SECOND / 5, SECOND * 3 / 5));
        assert_eq!(stretched(Duration::ZERO, u32::MAX), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn it_never_beats_more_than_it_may() {
        for nodes in [1, 999, 1_000, 4_001, 65_536, 1_000_000] {
            for millis in [100, 333, 1_000, 60_000] {
                let (heartbeat, _) = stretched(Duration::from_millis(millis), nodes);
                assert!(f64::from(nodes) / heartbeat.as_secs_f64() <= f64::from(HEARTBEATS_PER_SECOND_MAX));
            }
        }
    }
}
