//! Managers that are demoted, removed, or leave by themselves, asked of any of them; and what is refused because too few
//! would be left.

use std::time::Duration;

use muster_core::command::{Command, LOG_FORMAT, Outcome};
use muster_manager::{Start, membership::JOIN_PROTOCOL};
use muster_proto::{
    node::Role,
    v1::{self, control_client::ControlClient},
    version::Version,
};
use tonic::{Code, Request, Status, transport::Channel};

use crate::bench::{Bench, CALLER, STRANGER, node, soon};

async fn shown(control: &mut ControlClient<Channel>, id: u64) -> v1::Node {
    let request = v1::GetNodeRequest { node: node(id).to_string() };
    soon("a node", control.get_node(request)).await.unwrap().into_inner().node.unwrap()
}

async fn silent(control: &mut ControlClient<Channel>, id: u64) {
    soon("its silence", async {
        while shown(control, id).await.manager.expect("a manager").reachable {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn demote(control: &mut ControlClient<Channel>, id: u64) -> Result<v1::UpdateNodeResponse, Status> {
    let v1::Node { id, version, availability, labels, .. } = shown(control, id).await;
    let role = v1::Role::Worker.into();
    let request = v1::UpdateNodeRequest { node: id, version, availability, labels, role };
    soon("a demotion", control.update_node(request)).await.map(tonic::Response::into_inner)
}

async fn remove(control: &mut ControlClient<Channel>, id: u64, force: bool) -> Result<(), Status> {
    let request = v1::RemoveNodeRequest { node: node(id).to_string(), force };
    soon("a removal", control.remove_node(request)).await.map(|_| ())
}

async fn depart(bench: &Bench, id: u64) -> Result<(), Status> {
    let mut request = Request::new(v1::DepartRequest { force: false });
    request.metadata_mut().insert(CALLER, node(id).to_string().parse().unwrap());
    soon("a departure", bench.one(id).membership().await.depart(request)).await.map(|_| ())
}

/// With a secret that no token has.
async fn join_in_vain(bench: &Bench, through: u64, from: &str) -> Status {
    let mut request = Request::new(v1::JoinRequest {
        protocol: JOIN_PROTOCOL,
        node_id: node(99).to_string(),
        public_key: vec![1; 91],
        advertise_addr: format!("{from}:7377"),
        probe: "0123456789abcdef".to_owned(),
        log_format: LOG_FORMAT.into(),
        ..v1::JoinRequest::default()
    });
    request.metadata_mut().insert(STRANGER, from.parse().unwrap());
    soon("a join", bench.one(through).membership().await.join(request)).await.expect_err("no token")
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>, says: &str) {
    let refused = answer.expect_err(says);
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains(says), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_is_needed_stays_and_a_lost_one_goes() {
    let mut bench = Bench::of(3).await;
    let mut control = bench.one(2).control().await;
    let all = shown(&mut control, 3).await.manager.expect("a manager");
    assert!(all.voter && all.reachable);
    bench.one_mut(3).kill().await;
    silent(&mut control, 3).await;
    refusal(demote(&mut control, 2).await, "only 1 of 2 managers would be up");
    refusal(remove(&mut control, 2, true).await, "only 1 of 2 managers would be up");
    refusal(remove(&mut control, 3, false).await, "is a manager; demote it first");
    remove(&mut control, 3, true).await.unwrap();
    bench.one(1).voters([1, 2]).await;
    let demoted = demote(&mut control, 2).await.unwrap();
    assert_eq!(demoted.warnings, Vec::<String>::new());
    bench.one(1).voters([1]).await;
}

/// Whichever manager they ask: the leader counts by who they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_without_a_token_keep_nobody_but_themselves_out() {
    let bench = Bench::of(2).await;
    assert!(bench.one(1).is_leader());
    for _ in 0..10 {
        assert_eq!(join_in_vain(&bench, 2, "10.0.0.7").await.code(), Code::PermissionDenied);
    }
    assert_eq!(join_in_vain(&bench, 2, "10.0.0.7").await.code(), Code::ResourceExhausted);
    assert_eq!(join_in_vain(&bench, 1, "10.0.0.7").await.code(), Code::ResourceExhausted);
    assert_eq!(join_in_vain(&bench, 2, "10.0.0.8").await.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_just_died_does_not_count_as_up() {
    let mut bench = Bench::of(3).await;
    assert!(bench.one(1).is_leader());
    let mut control = bench.one(1).control().await;
    bench.one_mut(3).kill().await;
    refusal(demote(&mut control, 2).await, "only 1 of 2 managers would be up");
    demote(&mut control, 3).await.unwrap();
    bench.one(1).voters([1, 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_that_are_taken_out_at_once_are_not_each_counted_as_one_that_stays() {
    let mut bench = Bench::of(5).await;
    assert!(bench.one(1).is_leader());
    bench.one_mut(5).kill().await;
    let mut controls = [bench.one(1).control().await, bench.one(1).control().await, bench.one(1).control().await];
    let [second, third, fourth] = &mut controls;
    let answers = tokio::join!(demote(second, 2), demote(third, 3), demote(fourth, 4));
    let (refused, demoted): (Vec<_>, Vec<_>) =
        [answers.0, answers.1, answers.2].into_iter().partition(std::result::Result::is_err);
    assert_eq!((refused.len(), demoted.len()), (1, 2), "{refused:?}");
    refusal(refused.into_iter().next().unwrap(), "only 1 of 2 managers would be up");
    let settled = bench.one(1).handle().members().until(|group| group.voters.len() == 3 && !group.changing);
    soon("three voters", settled).await;
    bench.leader().await;
}

/// The others need its vote, so that the group keeps it. Whoever waits for the end of it is not told that it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_manager_has_a_part_until_the_group_has_let_it_go() {
    let mut bench = Bench::of(3).await;
    assert!(bench.one(1).is_leader());
    let mut control = bench.one(1).control().await;
    bench.one_mut(3).kill().await;
    silent(&mut control, 3).await;
    // Past the check that would have refused it.
    let v1::Node { version, .. } = shown(&mut control, 2).await;
    let demotion = Command::ChangeRole { id: node(2), version: Version(version), role: Role::Worker };
    assert!(matches!(bench.one(1).propose(demotion).await, Outcome::Done { .. }));
    let demoted = shown(&mut control, 2).await;
    assert_eq!((demoted.role(), demoted.manager.map(|manager| manager.voter)), (v1::Role::Worker, Some(true)));
    bench.one_mut(3).start(Start::Again).await;
    bench.one(1).voters([1, 3]).await;
    assert_eq!(shown(&mut control, 2).await.manager, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_manager_is_removed_once_the_group_has_let_it_go() {
    let bench = Bench::of(3).await;
    let mut control = bench.one(1).control().await;
    let demoted = demote(&mut control, 3).await.unwrap();
    assert!(demoted.warnings[0].contains("the cluster has 2 managers"), "{demoted:?}");
    remove(&mut control, 3, false).await.unwrap();
    let group = bench.one(1).handle().members().now();
    assert!(!group.peers.contains_key(&3), "{group:?}");
    assert!(bench.one(1).handle().replica().read(|state| state.was_removed(node(3))));
}

/// A new leader has heard of nobody yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_up_is_not_removed_because_the_leader_is_new() {
    let bench = Bench::of(3).await;
    demote(&mut bench.one(1).control().await, 3).await.unwrap();
    bench.one(1).voters([1, 2]).await;
    soon("the hand-over", bench.one(1).handle().hand_over()).await.unwrap();
    bench.until_another_leads(1).await;
    let mut control = bench.one(2).control().await;
    let heartbeats = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            bench.one(2).handle().leases().renew(node(3), Duration::ZERO);
        }
    };
    tokio::select! {
        answer = remove(&mut control, 3, false) => refusal(answer, "is up and would go on running its tasks"),
        () = heartbeats => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_leave_one_by_one_the_leader_first_and_the_last_stays() {
    let bench = Bench::of(3).await;
    assert!(bench.one(1).is_leader());
    depart(&bench, 1).await.unwrap();
    bench.one(2).voters([2, 3]).await;
    depart(&bench, 2).await.unwrap();
    bench.one(3).voters([3]).await;
    bench.one(3).until("both are gone", |state| state.was_removed(node(1)) && state.was_removed(node(2))).await;
    refusal(depart(&bench, 3).await, "is the only manager");
}
