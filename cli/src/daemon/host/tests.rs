//! What a host makes of joins that come to nothing, and of changes that nobody waits for.

use std::{fs, net::SocketAddr, path::Path, pin::pin, time::Duration};

use muster_manager::ca::{JoinToken, NodeKey};
use muster_proto::{
    node::{Availability, Role},
    trust::Digest,
    v1::{control_client::ControlClient, local_server::Local},
};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::Request;

use super::*;
use crate::daemon::{local::Service, whereabouts::Whereabouts};

/// Far above what is asked of a lock that is free.
const DEADLINE: Duration = Duration::from_secs(60);

async fn host(folder: &Path) -> Host {
    Host::open(args(folder)).await.unwrap()
}

/// At an address that nobody else here uses.
fn args(folder: &Path) -> Args {
    let [a, b, c] = rand::random();
    let place = SocketAddr::from(([127, a, b, c | 1], 7377));
    Args { listen_addr: place, ..Args::for_tests(folder, &place.to_string()) }
}

fn token() -> JoinToken {
    JoinToken { ca: Digest([1; 32]), secret: "0".repeat(25).parse().unwrap() }
}

/// A join at an address where nobody is.
async fn in_vain() -> v1::JoinClusterRequest {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    v1::JoinClusterRequest {
        token: token().to_string(),
        address: nobody.to_string(),
        ..v1::JoinClusterRequest::default()
    }
}

#[tokio::test]
async fn a_first_join_that_reaches_nobody_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    host.join(&in_vain().await).await.unwrap_err();
    assert_eq!(Record::read(&host.data_dir.member()).unwrap(), None);
}

#[tokio::test]
async fn a_repeated_join_keeps_what_the_cluster_may_know_of_this_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    let request = in_vain().await;
    let wish = Wish { token: token(), address: request.address.clone(), availability: Availability::Active };
    // The answer to this one was lost.
    let first = join::newcomer(None, &wish, "127.0.0.1:7377".to_owned()).unwrap();
    first.write(&host.data_dir.member()).unwrap();
    host.join(&request).await.unwrap_err();
    let kept = Record::read(&host.data_dir.member()).unwrap().expect("the record of the first attempt");
    assert_eq!((kept.node_id, &kept.identity.key), (first.node_id, &first.identity.key));
    // Who does not want it any more says so.
    let said = host.leave(Force::No).await.unwrap_err().to_string();
    assert!(said.contains("in no cluster"), "{said}");
    assert_eq!(Record::read(&host.data_dir.member()).unwrap(), None);
}

#[tokio::test]
async fn a_host_tells_of_itself_while_it_joins() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    let joining = host.member.lock().await;
    let told = tokio::time::timeout(DEADLINE, host.describe()).await.expect("does not wait for the join").unwrap();
    assert!(told.0.is_none());
    drop(joining);
}

#[tokio::test]
async fn a_host_that_has_not_ended_one_membership_begins_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    let wish = Wish { token: token(), address: "127.0.0.1:1".to_owned(), availability: Availability::Active };
    let record = join::newcomer(None, &wish, "127.0.0.1:7377".to_owned()).unwrap();
    assert!(NodeKey::from_pem(&record.identity.key).is_ok());
    for (phase, words) in [(Phase::Leaving, "repeat `muster leave`"), (Phase::Member, "start its daemon again")] {
        Record { phase, ..record.clone() }.write(&host.data_dir.member()).unwrap();
        for said in [host.init("").await.unwrap_err(), host.join(&in_vain().await).await.unwrap_err()] {
            assert!(said.to_string().contains(words), "{said}");
        }
        assert_eq!(Record::read(&host.data_dir.member()).unwrap().map(|kept| kept.phase), Some(phase));
    }
    // A leave that could not remove everything is finished by its repetition.
    Record { phase: Phase::Leaving, ..record }.write(&host.data_dir.member()).unwrap();
    assert_eq!(host.leave(Force::No).await.unwrap().containers_removed, 0);
    assert_eq!(Record::read(&host.data_dir.member()).unwrap(), None);
}

#[tokio::test]
async fn a_leave_whose_command_line_goes_away_comes_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(host(folder.path()).await);
    host.init("").await.unwrap();
    let service = Service::new(Arc::clone(&host), TaskTracker::new(), CancellationToken::new());
    let mut changes = host.changes();
    let gone = async {
        let mut leave = pin!(service.leave(Request::new(v1::LeaveRequest { force: true })));
        // Its first step and no other.
        assert!(futures_util::poll!(&mut leave).is_pending());
    };
    gone.await;
    let left = timeout(DEADLINE, changes.wait_for(Option::is_none)).await;
    left.expect("this host to be in no cluster").unwrap();
    host.init("").await.expect("nothing of before is left");
    host.stop().await;
}

#[tokio::test]
async fn nobody_changes_the_membership_of_a_daemon_that_stops() {
    let folder = tempfile::tempdir().unwrap();
    let host = Arc::new(host(folder.path()).await);
    let (changes, shutdown) = (TaskTracker::new(), CancellationToken::new());
    let service = Service::new(Arc::clone(&host), changes.clone(), shutdown.clone());
    let stopped = host.stop().await;
    let mut init = pin!(service.init(Request::new(v1::InitRequest { advertise_addr: String::new() })));
    assert!(futures_util::poll!(&mut init).is_pending());
    shutdown.cancel();
    drop(stopped);
    let refused = timeout(DEADLINE, init).await.expect("an answer").unwrap_err();
    assert!(refused.message().contains("is stopping"), "{refused}");
    changes.close();
    timeout(DEADLINE, changes.wait()).await.expect("an end");
    assert_eq!(Record::read(&host.data_dir.member()).unwrap(), None);
}

#[tokio::test]
async fn a_node_that_others_know_is_not_recovered_at_an_address_of_its_own_host() {
    let folder = tempfile::tempdir().unwrap();
    let begun = host(folder.path()).await;
    let record = begun.init("").await.unwrap();
    drop(begun.stop().await);
    drop(begun);
    let known = Record { advertise_addr: "10.0.0.1:7377".to_owned(), ..record };
    known.write(&folder.path().join("member")).unwrap();
    let host = Host::open(Args { advertise_addr: None, ..args(folder.path()) }).await.unwrap();
    let refused = host.recover(Force::Yes, "127.0.0.1:7377").await.unwrap_err().to_string();
    assert!(refused.contains("leads every host to itself"), "{refused}");
    assert_eq!(Record::read(&host.data_dir.member()).unwrap(), Some(known));
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_is_not_at_its_address_begins_nothing_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let refusals = [
        host.init(&nobody).await.map(drop),
        host.check_restore(&nobody).await,
        host.restore(&nobody, Force::No, Vec::new()).await.map(drop),
    ];
    for refused in refusals {
        let said = refused.unwrap_err().to_string();
        assert!(said.contains(&format!("{nobody} does not lead to this host")), "{said}");
        assert_eq!(Record::read(&host.data_dir.member()).unwrap(), None);
    }
    let record = host.init("").await.unwrap();
    let said = host.recover(Force::Yes, &nobody).await.unwrap_err().to_string();
    assert!(said.contains(&format!("{nobody} does not lead to this host")), "{said}");
    assert_eq!(Record::read(&host.data_dir.member()).unwrap(), Some(record.clone()));
    host.recover(Force::Yes, &record.advertise_addr).await.expect("this host is there");
    host.stop().await;
}

#[tokio::test]
async fn a_daemon_does_not_move_to_where_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let begun = host(folder.path()).await;
    let record = begun.init("").await.unwrap();
    drop(begun.stop().await);
    drop(begun);
    let (place, elsewhere) = (args(folder.path()), args(folder.path()));
    let moved = Args { listen_addr: place.listen_addr, ..elsewhere.clone() };
    let said = Host::open(moved).await.unwrap_err().to_string();
    assert!(said.contains("does not lead to this host"), "{said}");
    assert_eq!(Record::read(&folder.path().join("member")).unwrap(), Some(record));
    let host = Host::open(elsewhere.clone()).await.unwrap();
    let told = host.describe().await.unwrap().0.unwrap().record;
    assert_eq!(Some(told.advertise_addr), elsewhere.advertise_addr);
    host.stop().await;
}

#[tokio::test]
async fn a_member_whose_parts_did_not_start_is_shown_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    let told = async || host.describe().await.unwrap().0.map(|told| told.record);
    assert_eq!(told().await, None);
    let record = host.init("").await.unwrap();
    host.stop().await;
    host.announce(None);
    assert_eq!(told().await, Some(record.clone()));
    // As an agent writes it down.
    let known = concat!(r#"{"format":1,"managers":["c:1","b:1"],"incarnation":1,"removed":[]}"#, "\ncrc32 ba43a4ac\n");
    fs::write(host.data_dir.agent().join("managers.json"), known).unwrap();
    let told_now = host.describe().await.unwrap().0.unwrap();
    assert_eq!(told_now.managers(), ["c:1", "b:1"]);
    let to_ask = Whereabouts::remembered(&host.data_dir.agent(), &record).all();
    assert_eq!(to_ask, ["c:1", "b:1", &*record.managers[0]]);
    Record { phase: Phase::Leaving, ..record }.write(&host.data_dir.member()).unwrap();
    assert_eq!(told().await, None);
}

#[tokio::test]
async fn who_has_joined_is_seen_by_its_name_at_once() {
    let (first_folder, second_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = (host(first_folder.path()).await, host(second_folder.path()).await);
    let begun = first.init("").await.unwrap();
    let mut users = ControlClient::new(first.gate());
    let asked = v1::GetJoinTokenRequest { role: v1::Role::Worker.into(), ..v1::GetJoinTokenRequest::default() };
    let token = users.get_join_token(asked).await.unwrap().into_inner().token;
    let wish = v1::JoinClusterRequest { token, address: begun.advertise_addr, ..v1::JoinClusterRequest::default() };
    let joined = second.join(&wish).await.unwrap().record;
    let found = users.get_node(v1::GetNodeRequest { node: joined.node_id.to_string() }).await;
    let node = found.unwrap().into_inner().node.unwrap();
    assert!(node.description.is_some() && node.state() == v1::NodeState::Ready, "{node:?}");
    second.stop().await;
    first.stop().await;
}

/// A router in between may lead the others to it, and not itself.
#[tokio::test]
async fn a_worker_moves_to_where_it_does_not_reach_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (place, elsewhere) = (args(folder.path()), args(folder.path()));
    let begun = Host::open(place.clone()).await.unwrap();
    let record = begun.init("").await.unwrap();
    drop(begun.stop().await);
    drop(begun);
    fs::remove_dir_all(folder.path().join("manager")).unwrap();
    let worker = Record { role: Role::Worker, raft_id: None, ..record };
    worker.write(&folder.path().join("member")).unwrap();
    let host = Host::open(Args { listen_addr: place.listen_addr, ..elsewhere.clone() }).await.unwrap();
    let told = host.describe().await.unwrap().0.unwrap().record;
    assert_eq!(Some(told.advertise_addr), elsewhere.advertise_addr);
    host.stop().await;
}

/// At its address somebody answers nobody: itself.
#[tokio::test]
async fn a_backup_is_restored_on_the_host_of_a_manager_that_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let host = host(folder.path()).await;
    let record = host.init("").await.unwrap();
    let mut chunks = ControlClient::new(host.gate()).backup(v1::BackupRequest {}).await.unwrap().into_inner();
    let mut backup = Vec::new();
    while let Some(chunk) = chunks.message().await.unwrap() {
        backup.extend(chunk.bytes);
    }
    host.leave(Force::Yes).await.unwrap();
    let (restored, _) = host.restore("", Force::No, backup).await.unwrap();
    assert_eq!(restored.cluster_id, record.cluster_id);
    host.stop().await;
}
