//! Roles and removal of nodes, and the cluster's settings.

use muster_proto::{cluster::ClusterSpec, node::Role, v1};
use tonic::{Code, Status};

use crate::{
    bench::{Bench, NODE, soon},
    membership::{Newcomer, read, secret},
};

async fn node(bench: &mut Bench, id: impl ToString) -> v1::Node {
    let request = v1::GetNodeRequest { node: id.to_string() };
    soon("get", bench.control.get_node(request)).await.expect("there").into_inner().node.expect("a node")
}

async fn role(bench: &mut Bench, id: impl ToString, role: v1::Role) -> Result<v1::UpdateNodeResponse, Status> {
    let node = node(bench, id).await;
    let request = v1::UpdateNodeRequest {
        node: node.id,
        version: node.version,
        availability: node.availability,
        labels: node.labels,
        role: role.into(),
    };
    soon("update", bench.control.update_node(request)).await.map(tonic::Response::into_inner)
}

async fn remove(bench: &mut Bench, id: impl ToString, force: bool) -> Result<v1::RemoveNodeResponse, Status> {
    let request = v1::RemoveNodeRequest { node: id.to_string(), force };
    soon("remove", bench.control.remove_node(request)).await.map(tonic::Response::into_inner)
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, says: &str) {
    let refused = answer.expect_err(says);
    assert_eq!(refused.code(), code, "{refused}");
    assert!(refused.message().contains(says), "{refused}");
}

#[tokio::test]
async fn a_node_is_promoted_and_demoted_and_an_even_number_is_pointed_out() {
    let mut bench = Bench::start().await;
    let newcomer = Newcomer::new(7).await;
    newcomer.join(&bench, &secret(&bench, Role::Worker)).await.expect("joins");
    assert_eq!(node(&mut bench, newcomer.id).await.manager, None);
    let promoted = role(&mut bench, newcomer.id, v1::Role::Manager).await.expect("promoted");
    assert!(promoted.warnings.iter().any(|said| said.contains("the cluster has 2 managers")), "{promoted:?}");
    let shown = node(&mut bench, newcomer.id).await;
    assert_eq!((shown.role(), shown.version), (v1::Role::Manager, promoted.version));
    assert_eq!(shown.manager.map(|manager| (manager.raft_id, manager.voter)), Some((2, false)));
    let own = node(&mut bench, NODE).await.manager.expect("a manager");
    assert!(own.voter && own.reachable && own.lag == 0);
    assert!(node(&mut bench, NODE).await.certificate_expires_at.is_some());

    // The other has nothing of the state yet.
    refusal(role(&mut bench, NODE, v1::Role::Worker).await, Code::FailedPrecondition, "would have all");
    let demoted = role(&mut bench, newcomer.id, v1::Role::Worker).await.expect("demoted");
    assert_eq!(demoted.warnings, Vec::<String>::new());
    assert_eq!(node(&mut bench, newcomer.id).await.role(), v1::Role::Worker);
    refusal(role(&mut bench, NODE, v1::Role::Worker).await, Code::FailedPrecondition, "is the only manager");
    bench.stop().await;
}

#[tokio::test]
async fn a_node_is_removed_unless_that_would_hurt() {
    let mut bench = Bench::start().await;
    let newcomer = Newcomer::new(7).await;
    newcomer.join(&bench, &secret(&bench, Role::Worker)).await.expect("joins");
    assert_eq!(node(&mut bench, newcomer.id).await.last_seen, None);
    bench.handle.leases().renew(newcomer.id, std::time::Duration::ZERO);
    assert!(node(&mut bench, newcomer.id).await.last_seen.is_some());
    refusal(remove(&mut bench, newcomer.id, false).await, Code::FailedPrecondition, "is up");
    remove(&mut bench, newcomer.id, true).await.expect("removed");
    assert!(read(&bench, |state| state.was_removed(newcomer.id)));
    refusal(remove(&mut bench, newcomer.id, true).await, Code::NotFound, "no node");

    let manager = Newcomer::new(8).await;
    manager.join(&bench, &secret(&bench, Role::Manager)).await.expect("joins");
    refusal(remove(&mut bench, manager.id, false).await, Code::FailedPrecondition, "muster node demote");
    refusal(remove(&mut bench, NODE, true).await, Code::FailedPrecondition, "leads the managers");
    remove(&mut bench, manager.id, true).await.expect("removed");
    bench.stop().await;
}

#[tokio::test]
async fn settings_are_changed_within_bounds() {
    let mut bench = Bench::start().await;
    let cluster = async |bench: &mut Bench| {
        soon("get", bench.control.get_cluster(v1::GetClusterRequest {})).await.expect("there").into_inner()
    };
    let before = cluster(&mut bench).await;
    let spec = ClusterSpec { task_history_limit: 2, ..ClusterSpec::default() };
    let request = v1::UpdateClusterRequest { version: before.version, spec: Some((&spec).into()) };
    let version = soon("update", bench.control.update_cluster(request)).await.expect("updated");
    let after = cluster(&mut bench).await;
    assert_eq!((after.version, after.task_history_limit), (version.into_inner().version, 2));
    refusal(soon("update", bench.control.update_cluster(request)).await, Code::Aborted, "newer version");
    let absurd = ClusterSpec { lease: ClusterSpec::default().heartbeat, ..spec };
    let request = v1::UpdateClusterRequest { version: after.version, spec: Some((&absurd).into()) };
    refusal(soon("update", bench.control.update_cluster(request)).await, Code::InvalidArgument, "lease of 1s");
    let request = v1::UpdateClusterRequest { version: after.version, spec: None };
    refusal(soon("update", bench.control.update_cluster(request)).await, Code::InvalidArgument, "no settings");
    bench.stop().await;
}
