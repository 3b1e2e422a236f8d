//! Each next step of the managers' Raft group, from what the state and the group say.

use std::time::Duration;

use muster_proto::id::NodeId;
use proptest::{prelude::*, sample};

use super::*;
use crate::raft::members::REACHABLE;

const LAST: u64 = 10_000;
const ME: u64 = 1;

fn peer(id: u64) -> Peer {
    Peer { node_id: NodeId::from_bits(id.into()), address: format!("10.0.0.{id}:7377") }
}

fn wanted(ids: impl IntoIterator<Item = u64>) -> BTreeMap<u64, Peer> {
    ids.into_iter().map(|id| (id, peer(id))).collect()
}

/// All heard of and up to date.
fn group(voters: impl IntoIterator<Item = u64>, learners: impl IntoIterator<Item = u64>) -> Group {
    let (voters, learners): (BTreeSet<u64>, BTreeSet<u64>) =
        (voters.into_iter().collect(), learners.into_iter().collect());
    let all = voters.union(&learners).copied().collect::<Vec<_>>();
    Group {
        peers: wanted(all.iter().copied()),
        matched: all.iter().map(|id| (*id, LAST)).collect(),
        silence: all.iter().map(|id| (*id, Duration::ZERO)).collect(),
        last: LAST,
        voters,
        learners,
        ..Group::default()
    }
}

fn silent(mut group: Group, id: u64) -> Group {
    group.silence.insert(id, REACHABLE * 2);
    group
}

fn voters(ids: impl IntoIterator<Item = u64>) -> Option<Step> {
    Some(Step::SetVoters(ids.into_iter().collect()))
}

#[test]
fn a_new_manager_learns_first_and_votes_once_it_has_caught_up() {
    assert_eq!(next_step(&group([1], []), &wanted([1, 2]), ME), Some(Step::AddLearner { raft_id: 2, peer: peer(2) }));
    let mut learning = group([1], [2]);
    learning.matched.insert(2, LAST - LAG_MAX - 1);
    assert_eq!(next_step(&learning, &wanted([1, 2]), ME), None);
    learning.matched.insert(2, LAST - LAG_MAX);
    assert_eq!(next_step(&learning, &wanted([1, 2]), ME), voters([1, 2]));
    assert_eq!(next_step(&silent(learning, 2), &wanted([1, 2]), ME), None);
}

#[test]
fn nothing_is_begun_before_the_last_change_is_complete() {
    let mut changing = group([1], []);
    (changing.changing, changing.uncommitted) = (true, true);
    assert_eq!(next_step(&changing, &wanted([1, 2]), ME), None);
}

#[test]
fn a_change_that_was_left_half_way_is_completed() {
    let mut joint = group([1, 2, 3], []);
    (joint.changing, joint.joint) = (true, Some(BTreeSet::from([1, 2])));
    assert_eq!(next_step(&joint, &wanted([1, 2]), ME), voters([1, 2]));
    joint.uncommitted = true;
    assert_eq!(next_step(&joint, &wanted([1, 2]), ME), None);
}

#[test]
fn a_former_manager_is_taken_out_and_the_leader_hands_over_before_it_goes() {
    assert_eq!(next_step(&group([1, 2, 3], []), &wanted([1, 2]), ME), voters([1, 2]));
    assert_eq!(next_step(&group([1, 2, 3], []), &wanted([2, 3]), ME), Some(Step::HandOver));
    assert_eq!(next_step(&group([1], [2]), &wanted([1]), ME), Some(Step::RemoveLearner(2)));
    assert_eq!(next_step(&group([1, 2], []), &wanted([1]), ME), voters([1]));
}

#[test]
fn one_that_is_gone_leaves_before_its_successor_votes_and_one_that_is_there_after() {
    let gone = silent(group([1, 2, 3], [4]), 3);
    assert_eq!(next_step(&gone, &wanted([1, 2, 4]), ME), voters([1, 2]));
    assert_eq!(next_step(&group([1, 2, 3], [4]), &wanted([1, 2, 4]), ME), voters([1, 2, 3, 4]));
}

#[test]
fn what_would_cost_the_quorum_is_not_done() {
    // 2 is wanted and silent: without 3, nobody could confirm anything.
    assert_eq!(next_step(&silent(group([1, 2, 3], []), 2), &wanted([1, 2]), ME), None);
}

#[test]
fn a_new_address_is_told_to_all() {
    let mut moved = wanted([1, 2, 3]);
    let there = Peer { address: "10.9.9.9:7377".to_owned(), ..peer(2) };
    moved.insert(2, there.clone());
    assert_eq!(next_step(&group([1, 2, 3], []), &moved, ME), Some(Step::Readdress { raft_id: 2, peer: there }));
}

#[test]
fn without_a_manager_in_common_nothing_is_done() {
    assert_eq!(next_step(&group([1], []), &wanted([]), ME), None);
    assert_eq!(next_step(&group([1], []), &wanted([7]), ME), None);
}

fn carried_out(mut group: Group, step: Step) -> Group {
    match step {
        Step::AddLearner { raft_id, peer } => {
            group.learners.insert(raft_id);
            group.peers.insert(raft_id, peer);
            group.matched.insert(raft_id, LAST);
            group.silence.insert(raft_id, Duration::ZERO);
        }
        Step::Readdress { raft_id, peer } => {
            group.peers.insert(raft_id, peer);
        }
        Step::SetVoters(voters) => {
            group.peers.retain(|id, _| voters.contains(id) || group.learners.contains(id));
            group.learners.retain(|id| !voters.contains(id));
            group.voters = voters;
        }
        Step::RemoveLearner(id) => {
            group.learners.remove(&id);
            group.peers.remove(&id);
        }
        Step::HandOver => {}
    }
    group
}

fn ids() -> impl Strategy<Value = BTreeSet<u64>> {
    sample::subsequence((1..=8_u64).collect::<Vec<_>>(), 1..=8).prop_map(|ids| ids.into_iter().collect())
}

proptest! {
    #[test]
    fn every_step_keeps_a_majority_of_the_voters_and_the_leader(
        voting in ids(), learning in ids(), managers in ids(), gone in ids()
    ) {
        let voting = voting.into_iter().chain([ME]).collect::<BTreeSet<_>>();
        let learning = learning.difference(&voting).copied().collect::<Vec<_>>();
        let group = gone.iter().filter(|id| **id != ME).fold(group(voting, learning), |group, id| silent(group, *id));
        let heard = |voters: &BTreeSet<u64>| voters.iter().filter(|id| group.is_heard(**id, ME)).count();
        if let Some(Step::SetVoters(voters)) = next_step(&group, &wanted(managers), ME) {
            prop_assert!(voters.contains(&ME));
            prop_assert!(heard(&voters) > voters.len() / 2, "{voters:?}");
            prop_assert_eq!(voters.symmetric_difference(&group.voters).count(), 1);
        }
    }

    #[test]
    fn with_everyone_there_the_group_becomes_what_is_wanted(voting in ids(), learning in ids(), managers in ids()) {
        let voting = voting.into_iter().chain([ME]).collect::<BTreeSet<_>>();
        let learning = learning.difference(&voting).copied().collect::<Vec<_>>();
        let managers = managers.into_iter().chain([ME]).collect::<BTreeSet<_>>();
        let (mut group, wanted) = (group(voting, learning), wanted(managers.iter().copied()));
        for _ in 0..40 {
            match next_step(&group, &wanted, ME) {
                Some(step) => group = carried_out(group, step),
                None => break,
            }
        }
        prop_assert_eq!((group.voters, group.learners), (managers, BTreeSet::new()));
    }
}
