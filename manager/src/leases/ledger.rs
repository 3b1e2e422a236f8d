//! The rules of leases, on a clock that is handed in.
//!
//! - A heartbeat makes a node Ready for one lease: the one that its agent was told, where the cluster's was shortened
//!   since, because the agent counts on that.
//! - A node is Down only when its lease ran out while the leader was awake for all of it. The leader cannot tell what
//!   it slept through, so after a gap between two ticks every lease that still runs begins anew.
//! - The monotonic clock stands still while the host is suspended; the wall clock does not. A jump of either counts as
//!   a gap: a clock set forward costs one lease of patience, no more.
//! - A new leader grants every node one fresh lease; until it runs out or a heartbeat comes the node is Unknown.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_core::liveness::Liveness;
use muster_proto::{cluster::ClusterSpec, id::NodeId, node::NodeState, time::Timestamp};

/// How often leases are to be looked at: what a lost node's failover waits for at most, beyond its lease.
pub(crate) const TICK: Duration = Duration::from_millis(200);
/// A tick that is late by less is scheduling, even where the heartbeat is shorter.
const GAP_MIN: Duration = TICK.saturating_mul(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub heartbeat: Duration,
    pub lease: Duration,
}

impl From<&ClusterSpec> for Terms {
    fn from(spec: &ClusterSpec) -> Self {
        Self { heartbeat: spec.heartbeat, lease: spec.lease }
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// None: not the leader.
    leading: Option<Leading>,
    liveness: Liveness,
    changed: BTreeSet<NodeId>,
}

#[derive(Debug)]
struct Leading {
    terms: Terms,
    ticked: Duration,
    ticked_wall: Timestamp,
    /// When each lease ends; a node that is Down has none.
    ends: BTreeMap<NodeId, Duration>,
    known: BTreeSet<NodeId>,
    /// When each was heard of last.
    seen: BTreeMap<NodeId, Duration>,
}

impl Ledger {
    pub(super) fn begin(&mut self, now: Duration, wall: Timestamp, terms: Terms, nodes: impl Iterator<Item = NodeId>) {
        let known: BTreeSet<_> = nodes.collect();
        let ends = known.iter().map(|node| (*node, now + terms.lease)).collect();
        *self = Self::default();
        self.leading = Some(Leading { terms, ticked: now, ticked_wall: wall, ends, known, seen: BTreeMap::new() });
    }

    pub(super) fn cover(&mut self, now: Duration, terms: Terms, nodes: &BTreeSet<NodeId>) {
        let Some(leading) = &mut self.leading else { return };
        leading.terms = terms;
        for node in nodes.difference(&leading.known) {
            // Its first heartbeat can come before this manager has looked at the commit that made it a member.
            leading.ends.entry(*node).or_insert(now + terms.lease);
        }
        for node in leading.known.difference(nodes) {
            leading.ends.remove(node);
            leading.seen.remove(node);
            self.liveness.forget(*node);
            self.changed.remove(node);
        }
        leading.known.clone_from(nodes);
    }

    /// Whether this changed the node's state.
    pub(super) fn renew(&mut self, now: Duration, node: NodeId, told: Duration) -> bool {
        let Some(leading) = &mut self.leading else { return false };
        leading.ends.insert(node, now + told.max(leading.terms.lease));
        leading.seen.insert(node, now);
        let changed = self.liveness.of(node) != NodeState::Ready;
        if changed {
            self.liveness.ready(node);
            self.changed.insert(node);
        }
        changed
    }

    /// Whether this changed any node's state.
    pub(super) fn tick(&mut self, now: Duration, wall: Timestamp) -> bool {
        let Some(leading) = &mut self.leading else { return false };
        let gap = now.saturating_sub(leading.ticked).max(wall.since(leading.ticked_wall));
        (leading.ticked, leading.ticked_wall) = (now, wall);
        if gap > leading.terms.heartbeat.max(GAP_MIN) {
            for end in leading.ends.values_mut() {
                *end = (*end).max(now + leading.terms.lease);
            }
            self.liveness.skip(gap);
            return false;
        }
        self.liveness.clamp(wall);
        let ended: Vec<_> = leading.ends.iter().filter(|(_, end)| **end <= now).map(|(node, _)| *node).collect();
        for node in &ended {
            leading.ends.remove(node);
            self.liveness.down(*node, wall);
            self.changed.insert(*node);
        }
        !ended.is_empty()
    }

    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    pub(super) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    pub(super) fn last_seen(&self, node: NodeId) -> Option<Duration> {
        self.leading.as_ref()?.seen.get(&node).copied()
    }

    pub(super) fn take_changed(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { heartbeat: Duration::from_secs(1), lease: Duration::from_secs(3) };
    const A: NodeId = NodeId::from_bits(1);
    const B: NodeId = NodeId::from_bits(2);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn wall(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    fn begun(nodes: &[NodeId]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.begin(ms(0), wall(0), TERMS, nodes.iter().copied());
        ledger
    }

    /// Ticks every 200 ms, `from` excluded and `to` included.
    fn run(ledger: &mut Ledger, from: u64, to: u64) {
        for at in (from + 200..=to).step_by(200) {
            ledger.tick(ms(at), wall(at));
        }
    }

    #[test]
    fn a_silent_node_is_down_when_its_lease_ends_and_not_before() {
        let mut ledger = begun(&[A]);
        assert!(ledger.renew(ms(0), A, TERMS.lease));
        run(&mut ledger, 0, 2_800);
        assert_eq!(ledger.liveness().of(A), NodeState::Ready);
        run(&mut ledger, 2_800, 3_000);
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
        assert_eq!(ledger.take_changed(), [A].into());
    }

    #[test]
    fn a_lease_that_was_shortened_is_waited_for_as_the_agent_counts_it() {
        let mut ledger = begun(&[A]);
        ledger.cover(ms(0), Terms { lease: ms(1_000), ..TERMS }, &[A].into());
        ledger.renew(ms(0), A, TERMS.lease);
        run(&mut ledger, 0, 2_800);
        assert_eq!(ledger.liveness().of(A), NodeState::Ready);
        ledger.renew(ms(2_800), A, ms(1_000));
        run(&mut ledger, 2_800, 3_600);
        assert_eq!(ledger.liveness().of(A), NodeState::Ready);
        run(&mut ledger, 3_600, 3_800);
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
    }

    #[test]
    fn a_new_leader_grants_everyone_one_lease() {
        let mut ledger = begun(&[A, B]);
        ledger.renew(ms(100), A, TERMS.lease);
        run(&mut ledger, 0, 2_800);
        assert_eq!(ledger.liveness().of(B), NodeState::Unknown);
        run(&mut ledger, 2_800, 3_000);
        assert_eq!((ledger.liveness().of(A), ledger.liveness().of(B)), (NodeState::Ready, NodeState::Down));
    }

    #[test]
    fn a_pause_of_the_leader_never_counts() {
        let mut ledger = begun(&[A]);
        ledger.renew(ms(0), A, TERMS.lease);
        run(&mut ledger, 0, 1_000);
        assert!(!ledger.tick(ms(60_000), wall(60_000)));
        run(&mut ledger, 60_000, 62_800);
        assert_eq!(ledger.liveness().of(A), NodeState::Ready);
        run(&mut ledger, 62_800, 63_000);
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
    }

    #[test]
    fn a_heartbeat_shorter_than_a_tick_does_not_keep_lost_nodes_alive() {
        let mut ledger = Ledger::default();
        let terms = Terms { heartbeat: ms(50), lease: ms(1_000) };
        ledger.begin(ms(0), wall(0), terms, [A].into_iter());
        run(&mut ledger, 0, 1_000);
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
    }

    #[test]
    fn a_suspended_host_shows_on_the_wall_clock_only() {
        let mut ledger = begun(&[A]);
        ledger.renew(ms(0), A, TERMS.lease);
        run(&mut ledger, 0, 2_800);
        assert!(!ledger.tick(ms(3_000), wall(3_600_000)));
        assert_eq!(ledger.liveness().of(A), NodeState::Ready);
    }

    #[test]
    fn a_wall_clock_set_back_changes_nothing() {
        let mut ledger = begun(&[A]);
        ledger.renew(ms(0), A, TERMS.lease);
        for at in (200..=3_000).step_by(200) {
            ledger.tick(ms(at), Timestamp::from_millis(5));
        }
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
    }

    #[test]
    fn a_node_that_is_down_is_ready_with_its_next_heartbeat_and_stays_down_through_a_pause() {
        let mut ledger = begun(&[A]);
        run(&mut ledger, 0, 3_000);
        ledger.tick(ms(9_000), wall(9_000));
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
        ledger.take_changed();
        assert!(ledger.renew(ms(9_100), A, TERMS.lease));
        assert!(!ledger.renew(ms(9_200), A, TERMS.lease));
        assert_eq!(ledger.take_changed(), [A].into());
    }

    #[test]
    fn members_come_and_go() {
        let mut ledger = begun(&[A]);
        ledger.renew(ms(0), A, TERMS.lease);
        run(&mut ledger, 0, 1_000);
        ledger.cover(ms(1_000), TERMS, &[B].into());
        assert_eq!(ledger.liveness().of(A), NodeState::Unknown);
        run(&mut ledger, 1_000, 4_000);
        assert_eq!((ledger.liveness().of(A), ledger.liveness().of(B)), (NodeState::Unknown, NodeState::Down));
    }

    #[test]
    fn who_does_not_lead_knows_nothing() {
        let mut ledger = begun(&[A]);
        ledger.renew(ms(0), A, TERMS.lease);
        ledger.end();
        assert!(!ledger.renew(ms(100), A, TERMS.lease));
        assert_eq!(ledger.liveness().of(A), NodeState::Unknown);
    }
}
