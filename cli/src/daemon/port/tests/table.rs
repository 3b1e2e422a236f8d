//! The whole table of who may call what, walked over real connections.

use std::fmt::Write;

use expect_test::expect;
use muster_manager::authorization::{self, Authorize};
use muster_proto::node::Role;
use tonic::{Code, Status, body::Body};
use tower::{Layer, ServiceExt};

use super::site::{DEMOTED, MANAGER, NEW, REMOVED, SESSION, Site, WORKER, call, reached};

async fn local(rpc: &str) -> Status {
    let request = http::Request::post(format!("/{rpc}")).body(Body::empty()).expect("a request");
    let response = Authorize::at_socket().layer(reached()).oneshot(request).await.expect("an answer");
    Status::from_header_map(response.headers()).expect("a status")
}

#[tokio::test]
async fn every_rpc_by_every_caller() {
    let site = Site::start().await;
    let channels = [
        ("nobody", site.nobody().await),
        ("other CA", site.channel(&site.foreign())),
        ("expired", site.channel(&site.expired(WORKER).await)),
        ("removed", site.channel(&site.keeper(REMOVED, Role::Manager))),
        ("new worker", site.channel(&site.keeper(NEW, Role::Worker))),
        ("new manager", site.channel(&site.keeper(NEW, Role::Manager))),
        ("worker", site.channel(&site.keeper(WORKER, Role::Worker))),
        ("promoted", site.channel(&site.keeper(MANAGER, Role::Worker))),
        ("demoted", site.channel(&site.keeper(DEMOTED, Role::Manager))),
        ("manager", site.channel(&site.keeper(MANAGER, Role::Manager))),
    ];
    let mut shown = String::new();
    for rpc in authorization::rpcs() {
        let mut answers = Vec::new();
        for (name, channel) in &channels {
            answers.push((*name, call(channel, &rpc).await));
        }
        answers.push(("local", local(&rpc).await));
        let allowed: Vec<&str> = answers
            .iter()
            .filter(|(name, answer)| match answer.code() {
                Code::Ok => {
                    assert!(answer.message().starts_with("reached"), "{rpc} by {name}: {answer}");
                    true
                }
                Code::Unauthenticated | Code::PermissionDenied => {
                    assert!(answer.message().contains("; "), "what to do next: {rpc} by {name}: {answer}");
                    false
                }
                Code::Unavailable if *name == "new manager" => false,
                _ => panic!("{rpc} by {name}: {answer}"),
            })
            .map(|(name, _)| *name)
            .collect();
        writeln!(shown, "{}: {}", rpc.trim_start_matches("muster.v1."), allowed.join(", ")).expect("a string");
    }
    expect![[r#"
        Dispatcher/Session: new worker, new manager, worker, promoted, demoted, manager
        Membership/Join: nobody, manager
        Membership/Renew: expired, new worker, new manager, worker, promoted, demoted, manager
        Membership/Depart: new worker, new manager, worker, promoted, demoted, manager
        Raft/Append: new manager, demoted, manager
        Raft/Vote: new manager, demoted, manager
        Raft/InstallSnapshot: new manager, demoted, manager
        Raft/Elect: new manager, demoted, manager
        Control/CreateService: manager, local
        Control/UpdateService: manager, local
        Control/RollbackService: manager, local
        Control/PauseRollout: manager, local
        Control/ResumeRollout: manager, local
        Control/PromoteService: manager, local
        Control/RemoveService: manager, local
        Control/GetService: manager, local
        Control/ListServices: manager, local
        Control/WatchService: manager, local
        Control/ListTasks: manager, local
        Control/ServiceLogs: manager, local
        Control/GetNode: manager, local
        Control/UpdateNode: manager, local
        Control/ListNodes: manager, local
        Control/RemoveNode: manager, local
        Control/GetCluster: manager, local
        Control/UpdateCluster: manager, local
        Control/Rebalance: manager, local
        Control/GetJoinToken: manager, local
        Control/RotateCa: manager, local
        Control/Backup: manager, local
        Local/Init: local
        Local/Join: local
        Local/Leave: local
        Local/Info: local
        Local/Restore: local
        Local/Recover: local
    "#]]
    .assert_eq(&shown);
    site.stop().await;
}

#[tokio::test]
async fn a_service_hears_who_calls() {
    let site = Site::start().await;
    for (node, role) in [(MANAGER, Role::Manager), (MANAGER, Role::Worker), (WORKER, Role::Worker)] {
        let told = call(&site.channel(&site.keeper(node, role)), SESSION).await;
        assert_eq!(told.message(), format!("reached by {node} {role}"));
    }
    let told = call(&site.nobody().await, "muster.v1.Membership/Join").await;
    assert_eq!(told.message(), "reached by nobody");
    site.stop().await;
}

#[tokio::test]
async fn what_the_table_does_not_have_reaches_nothing() {
    let site = Site::start().await;
    let manager = site.channel(&site.keeper(MANAGER, Role::Manager));
    for rpc in ["muster.v1.Control/Nope", "muster.v1.Control", "", "grpc.reflection.v1.ServerReflection/Any"] {
        assert_eq!(call(&manager, rpc).await.code(), Code::Unimplemented, "{rpc}");
    }
    assert_eq!(call(&manager, SESSION).await.code(), Code::Ok);
    site.stop().await;
}
