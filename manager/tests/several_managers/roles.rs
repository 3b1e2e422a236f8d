//! Managers that are demoted, removed, or leave by themselves, asked of any of them; and what is refused because too few
//! would be left.

use muster_proto::v1::{self, control_client::ControlClient};
use tonic::{Code, Request, Status, transport::Channel};

use crate::bench::{Bench, CALLER, node, soon};

async fn shown(control: &mut ControlClient<Channel>, id: u64) -> v1::Node {
    let request = v1::GetNodeRequest { node: node(id).to_string() };
    soon("a node", control.get_node(request)).await.unwrap().into_inner().node.unwrap()
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
    soon("its silence", async {
        while shown(&mut control, 3).await.manager.expect("a manager").reachable {
            tokio::task::yield_now().await;
        }
    })
    .await;
    refusal(demote(&mut control, 2).await, "only 1 of 2 managers would be up");
    refusal(remove(&mut control, 2, true).await, "only 1 of 2 managers would be up");
    refusal(remove(&mut control, 3, false).await, "is a manager; demote it first");
    remove(&mut control, 3, true).await.unwrap();
    bench.one(1).voters([1, 2]).await;
    let demoted = demote(&mut control, 2).await.unwrap();
    assert_eq!(demoted.warnings, Vec::<String>::new());
    bench.one(1).voters([1]).await;
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
