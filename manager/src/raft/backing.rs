//! Since when a leader can be sure that nobody else led: the last moment at which more than half are known to have
//! followed it.
//!
//! Whoever was cut off from the others or stopped for a while goes on believing that it leads, and openraft's own figure
//! is as old as the last look at it. So this is counted from the sending of each message that a follower took, and
//! compared with the moment of what is to be answered: a leader that comes later was voted for by one of those followers
//! afterwards.

use std::collections::BTreeMap;

use muster_proto::version::Term;
use openraft::ServerState;
use tokio::time::{Instant, timeout};

use crate::raft::{HEARTBEAT, Metrics, Raft, contact::Contact, term_of};

#[derive(Clone)]
pub struct Backing {
    raft: Raft,
    contact: Contact,
}

impl std::fmt::Debug for Backing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Backing").field("since", &self.since()).finish_non_exhaustive()
    }
}

impl Backing {
    pub(crate) fn new(raft: Raft, contact: Contact) -> Self {
        Self { raft, contact }
    }

    /// Until then nobody but this manager led. None: it does not lead, or nobody has followed it yet.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        backed(&self.raft.metrics().borrow(), &self.contact.followed(), Instant::now())
    }

    /// Returns once nobody but this manager can have led at that moment; never, where somebody does. Cancel-safe.
    pub async fn at(&self, moment: Instant) {
        loop {
            let followed = self.contact.follows();
            if self.since() >= Some(moment) {
                return;
            }
            // A leader that is alone from now on is told so by nobody.
            let _ = timeout(HEARTBEAT, followed).await;
        }
    }
}

/// Of each set of voters more than half, this manager among them where it is a voter. `followed`: in which term each
/// other one follows, and when the last message that it took was sent.
fn backed(now: &Metrics, followed: &BTreeMap<u64, (Term, Instant)>, clock: Instant) -> Option<Instant> {
    if now.state != ServerState::Leader || now.vote.leader_id().node_id != now.id {
        return None;
    }
    let term = term_of(*now.vote.leader_id());
    let last = |voter: &u64| match followed.get(voter) {
        _ if *voter == now.id => Some(clock),
        Some((theirs, sent)) if *theirs == term => Some(*sent),
        Some(_) | None => None,
    };
    let sets = now.membership_config.membership().get_joint_config();
    let moments = sets.iter().map(|voters| {
        let mut moments: Vec<_> = voters.iter().map(last).collect();
        moments.sort_unstable();
        // As many have a later one or the same as make a majority.
        moments.get(moments.len().saturating_sub(1) / 2).copied().flatten()
    });
    moments.min().flatten()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc, time::Duration};

    use openraft::Membership;

    use super::*;
    use crate::raft::{Peer, StoredMembership, Vote};

    const TERM: u64 = 4;

    /// Manager 1, which leads in that term, among these sets of voters.
    fn leader(sets: &[&[u64]]) -> Metrics {
        let sets: Vec<BTreeSet<u64>> = sets.iter().map(|set| set.iter().copied().collect()).collect();
        let peers: BTreeMap<u64, Peer> = sets.iter().flatten().map(|id| (*id, Peer::default())).collect();
        let membership = Arc::new(StoredMembership::new(None, Membership::new(sets, peers)));
        let (state, vote) = (ServerState::Leader, Vote::new_committed(TERM, 1));
        Metrics { membership_config: membership, state, vote, ..Metrics::new_initial(1) }
    }

    fn term(leader: u64) -> Term {
        term_of(openraft::LeaderId::new(TERM, leader))
    }

    /// How many seconds ago it is backed, with what each other manager took when, in seconds ago.
    fn ago(now: &Metrics, took: &[(u64, u64)]) -> Option<u64> {
        let clock = Instant::now() + Duration::from_secs(1_000);
        let followed = took.iter().map(|(id, ago)| (*id, (term(1), clock - Duration::from_secs(*ago)))).collect();
        backed(now, &followed, clock).map(|since| (clock - since).as_secs())
    }

    #[test]
    fn a_majority_counts_and_the_leader_is_part_of_it() {
        assert_eq!(ago(&leader(&[&[1]]), &[]), Some(0));
        assert_eq!(ago(&leader(&[&[1, 2]]), &[(2, 7)]), Some(7));
        assert_eq!(ago(&leader(&[&[1, 2, 3]]), &[(2, 7), (3, 3)]), Some(3));
        assert_eq!(ago(&leader(&[&[1, 2, 3]]), &[(3, 3)]), Some(3));
        assert_eq!(ago(&leader(&[&[1, 2, 3, 4, 5]]), &[(2, 7), (3, 3)]), Some(7));
        assert_eq!(ago(&leader(&[&[1, 2, 3, 4, 5]]), &[(2, 7)]), None);
        assert_eq!(ago(&leader(&[&[1, 2, 3, 4]]), &[(2, 7), (4, 3)]), Some(7));
    }

    #[test]
    fn who_is_no_voter_does_not_count() {
        assert_eq!(ago(&leader(&[&[1, 2, 3]]), &[(2, 7), (9, 0)]), Some(7));
        assert_eq!(ago(&leader(&[&[2, 3]]), &[(2, 7), (3, 3)]), Some(7), "the leader itself included");
    }

    #[test]
    fn while_the_voters_change_both_sets_must_follow() {
        assert_eq!(ago(&leader(&[&[1, 2, 3], &[1, 4, 5]]), &[(2, 7), (3, 3), (5, 9)]), Some(9));
        assert_eq!(ago(&leader(&[&[1, 2, 3], &[1, 4, 5]]), &[(2, 7), (3, 3)]), None);
    }

    #[test]
    fn who_does_not_lead_is_backed_by_nobody_and_an_earlier_term_is_over() {
        let (clock, mut now) = (Instant::now(), leader(&[&[1, 2, 3]]));
        let followed = BTreeMap::from([(2, (Term(term(1).0 - (1 << 20)), clock))]);
        assert_eq!(backed(&now, &followed, clock), None);
        now.state = ServerState::Follower;
        assert_eq!(ago(&now, &[(2, 7), (3, 3)]), None);
        now.state = ServerState::Leader;
        now.vote = Vote::new(TERM + 1, 2);
        assert_eq!(ago(&now, &[(2, 7), (3, 3)]), None);
    }
}
