//! Who is listened to in the Raft group, and who dismisses a manager.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::RwLock,
};

use muster_core::{
    apply::apply,
    command::{Command, Entry, LogPosition},
    recovery::{self, Survivor},
    state::State,
};
use muster_proto::{
    cluster::ClusterSpec,
    id::NodeId,
    node::{NodeSpec, Role},
    time::Timestamp,
    version::Term,
};
use openraft::Membership;

use super::*;
use crate::{
    changes::Publisher,
    raft::{Peer, StoredMembership},
};

const CLUSTER: ClusterId = ClusterId::from_bits(1);

fn node(number: u64) -> NodeId {
    NodeId::from_bits(u128::from(number))
}

/// Managers 1 and 2, on the nodes of those numbers.
fn group() -> Metrics {
    let peers: BTreeMap<u64, Peer> = [1, 2].map(|id| (id, Peer { node_id: node(id), address: String::new() })).into();
    let membership = Membership::new(vec![BTreeSet::from([1, 2])], peers);
    Metrics { membership_config: Arc::new(StoredMembership::new(None, membership)), ..Metrics::new_initial(1) }
}

fn standing(state: State) -> Standing {
    let shared = Shared { state: RwLock::new(state), applied: watch::Sender::new(0), changes: Publisher::default() };
    Standing::new(CLUSTER, 1, Arc::new(shared))
}

/// Managers 1 and 2; node 3 was manager 3 and is none any more. Four is next.
fn demoted() -> State {
    let mut state = State::default();
    let manager = || NodeSpec { role: Role::Manager, ..NodeSpec::default() };
    let found = Command::CreateCluster {
        id: CLUSTER,
        spec: ClusterSpec::default(),
        node_id: node(1),
        node: manager(),
        address: "10.0.0.1:7377".to_owned(),
        founding: None,
    };
    let join = |number: u64| {
        let (id, spec, address) = (node(number), manager(), format!("10.0.0.{number}:7377"));
        Command::JoinNode { id, spec, address }
    };
    let mut index = 0;
    let mut run = |command| {
        index += 1;
        let entry = Entry::new(Timestamp::EPOCH, None, command);
        apply(&mut state, LogPosition { term: Term(1), index }, &entry);
        state.node(node(3)).map(|node| node.version)
    };
    run(found);
    run(join(2));
    let version = run(join(3)).expect("joined");
    run(Command::ChangeRole { id: node(3), version, role: Role::Worker });
    assert!(state.is_retired(RaftId(3)) && !state.is_retired(RaftId(4)));
    state
}

/// What a certificate of a node says: a manager with that Raft id.
fn certified(number: u64, raft_id: u64) -> Option<PeerIdentity> {
    Some(PeerIdentity {
        cluster_id: CLUSTER,
        node_id: node(number),
        role: Role::Manager,
        raft_id: Some(RaftId(raft_id)),
        root: None,
        expires_at: Timestamp::MAX,
    })
}

fn said(from: u64, incarnation: u64) -> Envelope<()> {
    Envelope { cluster: CLUSTER, incarnation, from, to: 1, body: () }
}

#[test]
fn nobody_speaks_for_another_manager() {
    let standing = standing(State::default());
    let from = |from, sender| standing.check(&said(from, 0), sender, &group());
    assert_eq!(from(2, certified(2, 2)), Ok(()));
    assert_eq!(from(2, certified(3, 3)), Err(Refusal::NotItself { said: 2 }));
    assert_eq!(from(2, certified(3, 2)), Err(Refusal::NotItself { said: 2 }), "a number that was given twice");
    assert_eq!(from(1, certified(2, 2)), Err(Refusal::NotItself { said: 1 }));
    assert_eq!(from(9, certified(9, 9)), Ok(()), "one that this manager has not heard of yet");
    assert_eq!(from(2, None), Ok(()), "the way it came vouches for it");
    let worker = certified(2, 2).map(|sender| PeerIdentity { role: Role::Worker, raft_id: None, ..sender });
    assert_eq!(from(2, worker), Err(Refusal::NotItself { said: 2 }));
}

#[test]
fn the_certificate_of_a_manager_that_was_demoted_says_nothing_any_more() {
    let standing = standing(demoted());
    let from = |from, sender| standing.check(&said(from, 1), sender, &group());
    assert_eq!(from(3, certified(3, 3)), Err(Refusal::Retired(3)));
    for unheard_of in [4, 9, 9_999] {
        assert_eq!(from(unheard_of, certified(3, 3)), Err(Refusal::NotItself { said: unheard_of }));
    }
    assert_eq!(from(4, certified(4, 4)), Ok(()), "a manager that this copy has not heard of yet");
}

#[test]
fn only_who_may_be_a_manager_dismisses_one() {
    let standing = standing(demoted());
    let told = |from, sender| standing.check(&said(from, u64::MAX), sender, &group());
    for (from, sender) in [(9, certified(3, 3)), (2, certified(3, 3)), (3, certified(3, 3))] {
        assert!(told(from, sender).is_err());
        assert_eq!(*standing.dismissed().borrow(), None, "{from}");
    }
    assert_eq!(told(4, certified(1, 4)), Err(Refusal::Superseded { old: 1, now: u64::MAX }));
    assert_eq!(*standing.dismissed().borrow(), Some(Dismissal::Superseded { now: u64::MAX }));
}

/// Two managers that lost each other were recovered apart, from copies that knew the same: of one Raft id, a moment apart.
#[test]
fn of_two_that_were_recovered_apart_the_earlier_one_gives_way() {
    for asked_by_the_later in [true, false] {
        let standing = standing(demoted());
        let incarnation = if asked_by_the_later { 2 } else { 0 };
        let said = standing.check(&said(1, incarnation), certified(2, 1), &group());
        if asked_by_the_later {
            assert_eq!(said, Err(Refusal::Superseded { old: 1, now: 2 }));
        } else {
            assert_eq!(said, Err(Refusal::NotItself { said: 1 }), "of no incarnation it is another's number");
        }
        assert_eq!(standing.dismissed().borrow().is_some(), asked_by_the_later);
    }
}

#[test]
fn of_two_that_were_recovered_in_the_same_millisecond_the_lower_node_gives_way() {
    for (other, gives_way) in [(0, false), (2, true)] {
        let standing = standing(demoted());
        assert!(standing.check(&said(1, 1), certified(other, 1), &group()).is_err());
        assert_eq!(standing.dismissed().borrow().is_some(), gives_way, "to node {other}");
    }
    let standing = standing(demoted());
    assert!(standing.check(&said(2, 1), certified(3, 2), &group()).is_err());
    assert!(standing.dismissed().borrow().is_none(), "another's number is no matter of this manager's");
}

/// A cluster in its second incarnation.
fn recovered() -> State {
    let survivor = Survivor { id: node(1), address: "10.0.0.1:7377".to_owned(), certificate: None };
    recovery::recovered(demoted(), &survivor, Timestamp::EPOCH, Term(2)).expect("a cluster").0
}

#[test]
fn a_recovered_manager_tells_former_ones_so_though_they_know_it_by_another_id() {
    let shared =
        Shared { state: RwLock::new(recovered()), applied: watch::Sender::new(0), changes: Publisher::default() };
    let standing = Standing::new(CLUSTER, 5, Arc::new(shared));
    let envelope = |to, incarnation| Envelope { cluster: CLUSTER, incarnation, from: 2, to, body: () };
    let check = |to, incarnation| standing.check(&envelope(to, incarnation), certified(2, 2), &group());
    assert_eq!(check(1, 1), Err(Refusal::Superseded { old: 1, now: 2 }));
    assert_eq!(check(1, 2), Err(Refusal::NotMe { meant: 1, me: 5 }));
    assert!(standing.dismissed().borrow().is_none());
}
