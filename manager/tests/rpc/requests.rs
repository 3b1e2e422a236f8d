//! A request that is repeated under its id is carried out once and answered as it was first.

use muster_manager::{Bootstrap, ca::ClusterKey, ca::PeerIdentity};
use muster_proto::{
    cluster::ClusterSpec,
    id::{REQUEST_ID_METADATA, RequestId},
    node::Role,
    time::Timestamp,
    v1,
};
use tonic::{Code, Request};

use crate::bench::{Bench, CLUSTER, NODE, replicated, soon};

pub(crate) fn asked<T>(id: u128, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let id = RequestId::from_bits(id).to_string();
    request.metadata_mut().insert(REQUEST_ID_METADATA, id.parse().expect("ASCII"));
    request
}

fn creation(name: &str) -> v1::CreateServiceRequest {
    v1::CreateServiceRequest { spec: Some((&replicated(name, "app:1", 1)).into()) }
}

#[tokio::test]
async fn a_service_is_created_once() {
    let mut bench = Bench::start().await;
    let mut create = async |request| {
        soon("create", bench.control.create_service(request)).await.map(|answer| answer.into_inner().id)
    };
    let first = create(asked(1, creation("web"))).await.expect("created");
    assert_eq!(create(asked(1, creation("web"))).await.expect("the first answer"), first);
    let other = create(asked(2, creation("web"))).await.expect_err("the name is taken");
    assert_eq!(other.code(), Code::AlreadyExists);
    let nameless = create(Request::new(creation("web"))).await.expect_err("the name is taken");
    assert_eq!(nameless.code(), Code::AlreadyExists);
    let mut malformed = Request::new(creation("api"));
    malformed.metadata_mut().insert(REQUEST_ID_METADATA, "x".parse().expect("ASCII"));
    assert_eq!(create(malformed).await.expect_err("no id").code(), Code::InvalidArgument);
    let services = soon("list", bench.control.list_services(v1::ListServicesRequest {})).await.expect("listed");
    assert_eq!(services.into_inner().services.len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn two_at_once_make_one_service() {
    let bench = Bench::start().await;
    let (mut one, mut other) = (bench.control.clone(), bench.control.clone());
    let both = async {
        tokio::join!(one.create_service(asked(1, creation("web"))), other.create_service(asked(1, creation("web"))))
    };
    let (one, other) = soon("both", both).await;
    assert_eq!(one.expect("created").into_inner().id, other.expect("the same").into_inner().id);
    assert_eq!(bench.handle.replica().read(|state| state.services().count()), 1);
    bench.stop().await;
}

#[tokio::test]
async fn changes_are_made_once_and_answered_alike() {
    let mut bench = Bench::start().await;
    bench.create(&replicated("web", "app:1", 1)).await.expect("created");
    let current = bench.service("web").await.expect("there");
    let update = v1::UpdateServiceRequest {
        id: current.id.clone(),
        version: current.version,
        spec: Some((&replicated("web", "app:2", 1)).into()),
        resolve_image: false,
    };
    let mut versions = Vec::new();
    for _ in 0..2 {
        let answer = soon("update", bench.control.update_service(asked(3, update.clone()))).await.expect("updated");
        versions.push(answer.into_inner().version);
    }
    assert_eq!(versions[0], versions[1]);
    let overtaken = soon("update", bench.control.update_service(asked(4, update))).await.expect_err("overtaken");
    assert_eq!(overtaken.code(), Code::Aborted);

    let rollback = v1::RollbackServiceRequest {
        id: current.id.clone(),
        version: bench.service("web").await.expect("there").version,
    };
    for _ in 0..2 {
        soon("roll back", bench.control.rollback_service(asked(5, rollback.clone()))).await.expect("rolled back");
    }
    let removal = v1::RemoveServiceRequest { id: "web".to_owned() };
    for _ in 0..2 {
        soon("remove", bench.control.remove_service(asked(6, removal.clone()))).await.expect("removed");
    }
    let gone = soon("remove", bench.control.remove_service(asked(7, removal))).await.expect_err("gone");
    assert_eq!(gone.code(), Code::NotFound);
    bench.stop().await;
}

#[tokio::test]
async fn a_cluster_with_a_manager_of_the_first_format_does_without_ids_and_newer_changes() {
    let bootstrap = Bootstrap { spec: ClusterSpec::default(), founding: None };
    let myself = PeerIdentity {
        cluster_id: CLUSTER,
        node_id: NODE,
        role: Role::Manager,
        raft_id: None,
        root: None,
        expires_at: Timestamp::MAX,
    };
    let key = ClusterKey::generate().expect("random");
    let mut bench = Bench::found(myself, bootstrap, key).await;
    assert_eq!(bench.handle.replica().read(muster_core::state::State::log_format), 1);
    soon("create", bench.control.create_service(asked(1, creation("web")))).await.expect("created");
    let repeated = soon("create", bench.control.create_service(asked(1, creation("web")))).await;
    assert_eq!(repeated.expect_err("not remembered").code(), Code::AlreadyExists);
    assert_eq!(bench.handle.replica().read(|state| state.first_outcome(RequestId::from_bits(1)).cloned()), None);

    let request = v1::UpdateClusterRequest { version: 1, spec: Some((&ClusterSpec::default()).into()) };
    let refused = soon("update", bench.control.update_cluster(request)).await.expect_err("of a newer format");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(
        refused.message(),
        format!("manager {NODE} reads log entries up to format 1 and this needs format 2; upgrade muster there first")
    );
    bench.stop().await;
}
