//! The Raft group as the state wants it, and what becomes of managers that stop, are cut off, or are gone for good.

use std::sync::atomic::Ordering;

use muster_core::command::{Command, Outcome};
use muster_manager::{Manager, OpenError, Outside, RunError, Start, StorageError, raft::standing::Dismissal};
use muster_proto::node::Role;

use crate::bench::{Bench, node, service, soon};

fn done(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Done { .. } => true,
        Outcome::Partly { .. } | Outcome::Rejected(_) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_managers_form_and_one_takes_over_from_a_leader_that_dies() {
    let mut bench = Bench::of(3).await;
    assert!(done(&bench.one(1).propose(service(1)).await));
    bench.agreed().await;
    bench.one_mut(1).kill().await;
    let leader = bench.leader().await;
    assert_ne!(leader.id, 1);
    assert!(leader.has(1));
    assert!(done(&leader.propose(service(2)).await));
    bench.one_mut(1).start(Start::Again).await;
    bench.one(1).until("what was written meanwhile", |state| state.services().count() == 2).await;
    bench.agreed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_acknowledges_nothing_and_follows_when_it_is_back() {
    let bench = Bench::of(3).await;
    bench.one(1).propose(service(1)).await;
    bench.wires.isolate(1, [2, 3]);
    let lost = tokio::spawn({
        let replica = bench.one(1).handle().replica().clone();
        async move { replica.propose(service(2)).await }
    });
    bench.until_another_leads(1).await;
    let leader = [2, 3].into_iter().find(|id| bench.one(*id).is_leader()).unwrap();
    assert!(done(&bench.one(leader).propose(service(3)).await));
    bench.wires.mend();
    bench.one(1).until("what the others wrote", |state| state.services().count() >= 2).await;
    let answer = soon("an answer", lost).await.unwrap();
    assert!(answer.is_err(), "nobody confirmed it: {answer:?}");
    bench.agreed().await;
    assert!(!bench.one(1).has(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_and_nothing_acknowledged_is_lost() {
    let bench = Bench::of(5).await;
    for round in 0..5 {
        let before = bench.leader().await;
        let written = tokio::spawn({
            let replica = before.handle().replica().clone();
            async move {
                let mut acknowledged = Vec::new();
                for number in (round * 1_000 + 1)..(round * 1_000 + 1_000) {
                    match replica.propose(service(number)).await {
                        Ok(outcome) if done(&outcome) => acknowledged.push(number),
                        Ok(_) | Err(_) => break,
                    }
                }
                acknowledged
            }
        });
        before
            .until("some writes", |state| state.services().any(|s| s.spec.name == format!("s{}", round * 1_000 + 3)))
            .await;
        soon("a hand-over", before.handle().hand_over()).await.unwrap();
        let after = bench.leader().await;
        assert_ne!(after.id, before.id);
        for number in soon("writes", written).await.unwrap() {
            assert!(after.has(number), "{number} was acknowledged");
        }
    }
    bench.agreed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_manager_leaves_the_group_and_stops_and_its_id_is_not_heard_again() {
    let mut bench = Bench::of(3).await;
    let demote = |bench: &Bench, id| {
        let version = bench.one(1).handle().replica().read(|state| state.node(node(id)).unwrap().version);
        Command::ChangeRole { id: node(id), version, role: Role::Worker }
    };
    let command = demote(&bench, 3);
    bench.one(1).propose(command).await;
    bench.one(1).voters([1, 2]).await;
    let why = bench.one_mut(3).stopped().await;
    assert!(matches!(why, RunError::Dismissed(Dismissal::Retired)), "{why}");
    // It hears of no leader and asks for votes in vain.
    bench.one_mut(3).start(Start::Again).await;
    let why = bench.one_mut(3).stopped().await;
    assert!(matches!(why, RunError::Dismissed(Dismissal::Retired)), "{why}");
    assert!(bench.one(1).is_leader());
    assert!(done(&bench.one(1).propose(service(1)).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_demoted_hands_over_first() {
    let bench = Bench::of(3).await;
    let version = bench.one(1).handle().replica().read(|state| state.node(node(1)).unwrap().version);
    bench.one(1).propose(Command::ChangeRole { id: node(1), version, role: Role::Worker }).await;
    bench.one(2).voters([2, 3]).await;
    assert!(done(&bench.leader().await.propose(service(1)).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_whose_folder_was_wiped_cannot_vote_as_its_former_self() {
    let mut bench = Bench::of(3).await;
    bench.one_mut(3).kill().await;
    let config = bench.one(1).handle().config().clone();
    let wiped = tempfile::tempdir().unwrap();
    let config = muster_manager::Config { data_dir: wiped.path().to_owned(), raft_id: 3, node_id: node(3), ..config };
    let outside = Outside::of_host(std::sync::Arc::new(muster_manager::raft::alone::Alone));
    let refused = Manager::open(config, outside, Start::Again).await.unwrap_err();
    assert!(matches!(refused, OpenError::Storage(StorageError::Missing { .. })), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_gives_way_and_catches_up_when_there_is_room() {
    let bench = Bench::of(3).await;
    bench.one(1).trouble.full.store(true, Ordering::Relaxed);
    bench.until_another_leads(1).await;
    let leader = bench.leader().await;
    assert!(done(&leader.propose(service(1)).await));
    assert!(!bench.one(1).has(1), "it took an entry that there is no room for");
    bench.one(1).trouble.full.store(false, Ordering::Relaxed);
    bench.one(1).until("what it missed", |state| state.services().count() == 1).await;
    bench.agreed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_manager_whose_disk_is_full_says_so_and_goes_on_when_there_is_room() {
    let bench = Bench::of(1).await;
    let one = bench.one(1);
    one.trouble.full.store(true, Ordering::Relaxed);
    let replica = one.handle().replica();
    let refused = soon("a refusal", async {
        let mut number = 0;
        loop {
            number += 1;
            if let Err(why) = replica.propose(service(number)).await {
                return why;
            }
        }
    });
    assert!(refused.await.to_string().contains("nearly full"));
    one.trouble.full.store(false, Ordering::Relaxed);
    soon("a write", async {
        let mut number = 1_000_000;
        while replica.propose(service(number)).await.is_err() {
            number += 1;
        }
    })
    .await;
}
