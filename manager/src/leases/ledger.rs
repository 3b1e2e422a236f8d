//! The rules of leases, on a clock that is handed in.
//!
//! - A heartbeat makes a node Ready for one lease: the longer of the cluster's and of the one that its agent was told,
//!   because the agent counts on that. While it is not sure that an agent was told a shorter one, the longer lease runs
//!   on.
//! - A node is Down only when its lease ran out while the leader was awake for all of it. The leader cannot tell what
//!   it slept through, so after a gap between two ticks every lease that still runs begins anew.
//! - The monotonic clock stands still while the host is suspended; the wall clock does not. A jump of either counts as
//!   a gap: a clock set forward costs one lease of patience, no more. The wall clock is good for nothing else.
//! - When a node went down is a time of the state's clock, the one that plans are made at. That one jumps too, and where
//!   it does the times noted here go along: what is counted from them is time that was lived through.
//! - A new leader grants every node one fresh lease; until it runs out or a heartbeat comes the node is Unknown.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_core::{
    liveness::{LEAP_MIN, Liveness},
    terms::Terms,
};
use muster_proto::{id::NodeId, node::NodeState, time::Timestamp};

/// How often leases are to be looked at: what a lost node's failover waits for at most, beyond its lease.
pub(crate) const TICK: Duration = Duration::from_millis(200);
/// A leader that looked for the last time so large a part of a lease ago cannot tell a lost node from its own lateness.
const GAP_IN_A_LEASE: u32 = 3;
/// A tick that is late by less is scheduling, even where the lease is short.
const GAP_MIN: Duration = TICK.saturating_mul(3);

/// One moment on each of the leader's clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Counted on tokio's clock, which stands still with the host.
    pub(super) elapsed: Duration,
    pub(super) wall: Timestamp,
    /// What plans are made at.
    pub(super) state: Timestamp,
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
    begun: Now,
    ticked: Now,
    /// By how much the state's clock has run ahead of the monotonic one since this manager leads.
    ahead: Duration,
    /// When each lease ends; a node that is Down has none.
    ends: BTreeMap<NodeId, Duration>,
    known: BTreeSet<NodeId>,
    /// When each was heard of last.
    seen: BTreeMap<NodeId, Duration>,
}

impl Ledger {
    /// `first_lease`: what agents may still count on from the leader before.
    pub(super) fn begin(&mut self, now: Now, terms: Terms, first_lease: Duration, nodes: impl Iterator<Item = NodeId>) {
        let known: BTreeSet<_> = nodes.collect();
        let ends = known.iter().map(|node| (*node, now.elapsed + first_lease.max(terms.lease))).collect();
        *self = Self::default();
        self.liveness.begin(now.state);
        let (begun, ticked) = (now, now);
        self.leading =
            Some(Leading { terms, begun, ticked, ahead: Duration::ZERO, ends, known, seen: BTreeMap::new() });
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

    /// A session began, in which the agent will be told this lease. Until it says something in it, it may count on the
    /// one before. Whether this changed the node's state.
    pub(super) fn welcome(&mut self, now: Duration, node: NodeId, told: Duration) -> bool {
        let before = self.leading.as_ref().and_then(|leading| leading.ends.get(&node).copied());
        let changed = self.renew(now, node, told);
        if let Some((leading, before)) = self.leading.as_mut().zip(before) {
            leading.ends.entry(node).and_modify(|end| *end = before.max(*end));
        }
        changed
    }

    /// A heartbeat of an agent that was told this lease. Whether this changed the node's state.
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
    pub(super) fn tick(&mut self, now: Now) -> bool {
        let Some(leading) = &mut self.leading else { return false };
        let before = std::mem::replace(&mut leading.ticked, now);
        let gap = now.elapsed.saturating_sub(before.elapsed).max(now.wall.since(before.wall));
        let ahead =
            now.state.since(leading.begun.state).saturating_sub(now.elapsed.saturating_sub(leading.begun.elapsed));
        let leapt = ahead.saturating_sub(leading.ahead);
        if gap > (leading.terms.lease / GAP_IN_A_LEASE).max(GAP_MIN) {
            for end in leading.ends.values_mut() {
                *end = (*end).max(now.elapsed + leading.terms.lease);
            }
            leading.ahead = ahead;
            self.liveness.skip(now.state.since(before.state), now.state);
            return false;
        }
        if leapt >= LEAP_MIN {
            leading.ahead = ahead;
            self.liveness.skip(leapt, now.state);
        }
        let over = leading.ends.iter().filter(|(_, end)| **end <= now.elapsed);
        let ended: Vec<_> = over.map(|(node, _)| *node).collect();
        for node in &ended {
            leading.ends.remove(node);
            self.liveness.down(*node, now.state);
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
    use muster_core::liveness::Loss;

    use super::*;

    const TERMS: Terms = Terms { heartbeat: Duration::from_secs(1), lease: Duration::from_secs(3) };
    const A: NodeId = NodeId::from_bits(1);
    const B: NodeId = NodeId::from_bits(2);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// All clocks agree.
    fn at(millis: u64) -> Now {
        let wall = Timestamp::from_millis(1_000_000 + millis);
        Now { elapsed: ms(millis), wall, state: wall }
    }

    fn begun(nodes: &[NodeId]) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.begin(at(0), TERMS, TERMS.lease, nodes.iter().copied());
        ledger
    }

    /// Ticks every 200 ms, `from` excluded and `to` included.
    fn run(ledger: &mut Ledger, from: u64, to: u64) {
        for millis in (from + 200..=to).step_by(200) {
            ledger.tick(at(millis));
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
    fn a_new_leader_grants_everyone_one_lease() {
        let mut ledger = begun(&[A, B]);
        ledger.renew(ms(100), A, TERMS.lease);
        run(&mut ledger, 0, 2_800);
        assert_eq!(ledger.liveness().of(B), NodeState::Unknown);
        run(&mut ledger, 2_800, 3_000);
        assert_eq!((ledger.liveness().of(A), ledger.liveness().of(B)), (NodeState::Ready, NodeState::Down));
    }

    /// What an outage is told from hosts that have long been off by.
    #[test]
    fn a_leader_knows_which_nodes_it_has_heard_before_they_went_down() {
        let mut ledger = begun(&[A, B]);
        ledger.renew(ms(0), A, TERMS.lease);
        run(&mut ledger, 0, 3_000);
        let loss = |ledger: &Ledger, node| ledger.liveness().lost(node).map(|(_, loss)| loss);
        assert_eq!((loss(&ledger, A), loss(&ledger, B)), (Some(Loss::Witnessed), Some(Loss::Inherited)));
        ledger.renew(ms(3_100), B, TERMS.lease);
        assert_eq!(loss(&ledger, B), None);
        run(&mut ledger, 3_000, 6_200);
        assert_eq!(loss(&ledger, B), Some(Loss::Witnessed));
    }

    #[test]
    fn a_pause_of_the_leader_never_counts() {
        let mut ledger = begun(&[A]);
        ledger.renew(ms(0), A, TERMS.lease);
        run(&mut ledger, 0, 1_000);
        assert!(!ledger.tick(at(60_000)));
        run(&mut ledger, 60_000, 62_800);
        assert_eq!(ledger.liveness().of(A), NodeState::Ready);
        run(&mut ledger, 62_800, 63_000);
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
    }

    #[test]
    fn a_heartbeat_shorter_than_a_tick_does_not_keep_lost_nodes_alive() {
        let mut ledger = Ledger::default();
        let terms = Terms { heartbeat: ms(50), lease: ms(1_000) };
        ledger.begin(at(0), terms, terms.lease, [A].into_iter());
        run(&mut ledger, 0, 1_000);
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
    }

    #[test]
    fn a_suspended_host_shows_on_the_wall_clock_only() {
        let mut ledger = begun(&[A]);
        ledger.renew(ms(0), A, TERMS.lease);
        run(&mut ledger, 0, 2_800);
        assert!(!ledger.tick(Now { wall: at(3_600_000).wall, state: at(3_600_000).state, ..at(3_000) }));
        assert_eq!(ledger.liveness().of(A), NodeState::Ready);
    }

    #[test]
    fn a_wall_clock_set_back_changes_nothing() {
        let mut ledger = begun(&[A]);
        ledger.renew(ms(0), A, TERMS.lease);
        for millis in (200..=3_000).step_by(200) {
            ledger.tick(Now { wall: Timestamp::from_millis(5), ..at(millis) });
        }
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
    }

    #[test]
    fn a_node_that_is_down_is_ready_with_its_next_heartbeat_and_stays_down_through_a_pause() {
        let mut ledger = begun(&[A]);
        run(&mut ledger, 0, 3_000);
        ledger.tick(at(9_000));
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

    /// The state's clock is ahead of the wall by ten seconds, as after a leader whose own clock was.
    #[test]
    fn a_node_is_down_since_a_time_of_the_clock_that_plans_are_made_at() {
        let ahead = |millis| Now { state: at(millis + 10_000).state, ..at(millis) };
        let mut ledger = Ledger::default();
        ledger.begin(ahead(0), TERMS, TERMS.lease, [A].into_iter());
        for millis in (200..=3_000).step_by(200) {
            ledger.tick(ahead(millis));
        }
        assert_eq!(ledger.liveness().down_since(A), Some(ahead(3_000).state));
    }

    #[test]
    fn what_is_counted_from_a_nodes_end_does_not_shrink_when_a_clock_jumps() {
        let mut ledger = begun(&[A]);
        run(&mut ledger, 0, 3_000);
        let down = at(3_000).state;
        assert_eq!(ledger.liveness().down_since(A), Some(down));
        // The wall clock jumps and takes the state's along.
        let jumped = |millis| Now { elapsed: ms(millis), ..at(millis + 30_000) };
        ledger.tick(jumped(3_200));
        assert_eq!(ledger.liveness().down_since(A), Some(down + ms(30_200)), "nobody knows how much of it was lived");
        ledger.tick(jumped(3_400));
        assert_eq!(ledger.liveness().down_since(A), Some(down + ms(30_200)));
        // An entry of another leader's, stamped by a clock ahead: the wall does not show it.
        ledger.tick(Now { state: jumped(8_600).state, ..jumped(3_600) });
        assert_eq!(ledger.liveness().down_since(A), Some(down + ms(35_200)));
        // The wall clock catches up with a state's clock that was ahead: that is no jump of the state's.
        ledger.tick(Now { wall: jumped(8_800).wall, state: jumped(8_800).state, ..jumped(3_800) });
        assert_eq!(ledger.liveness().down_since(A), Some(down + ms(35_400)));
    }

    #[test]
    fn a_lease_that_was_shortened_is_waited_for_as_the_agent_counts_it() {
        let short = Terms { lease: ms(1_000), ..TERMS };
        let mut ledger = begun(&[A]);
        ledger.cover(ms(0), short, &[A].into());
        ledger.renew(ms(0), A, TERMS.lease);
        ledger.welcome(ms(200), A, short.lease);
        run(&mut ledger, 0, 2_800);
        assert_eq!(ledger.liveness().of(A), NodeState::Ready, "it may not have heard its new lease");
        ledger.renew(ms(2_800), A, short.lease);
        run(&mut ledger, 2_800, 3_600);
        assert_eq!(ledger.liveness().of(A), NodeState::Ready);
        run(&mut ledger, 3_600, 3_800);
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
    }

    #[test]
    fn a_new_leader_waits_for_the_lease_that_the_one_before_may_have_granted() {
        let mut ledger = Ledger::default();
        ledger.begin(at(0), TERMS, ms(10_000), [A, B].into_iter());
        ledger.renew(ms(0), B, TERMS.lease);
        run(&mut ledger, 0, 9_800);
        assert_eq!((ledger.liveness().of(A), ledger.liveness().of(B)), (NodeState::Unknown, NodeState::Down));
        run(&mut ledger, 9_800, 10_000);
        assert_eq!(ledger.liveness().of(A), NodeState::Down);
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
