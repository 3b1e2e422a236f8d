//! The whole table of who may call what, walked over real connections. "Another worker" calls in a worker's name; what
//! comes of that where there is something of that worker's to be had is in [`super::manager`].

use std::fmt::Write;

use expect_test::expect;
use futures_util::StreamExt;
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use muster_manager::authorization::{self, Authorize};
use muster_proto::node::Role;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tonic::{
    Code,
    body::Body,
    transport::{Channel, Endpoint},
};
use tower::{Layer, ServiceExt};

use super::{
    super::Inner,
    site::{
        ANOTHER_WORKER, DEMOTED, MANAGER, NEW, ORIGIN, PASSED_ON, REMOVED, SESSION, Site, WORKER, call, name_of,
        reached, send, soon,
    },
};
use crate::daemon::socket;

/// The daemon's local socket, and what stands there before its services.
struct Socket {
    channel: Channel,
    _serving: JoinSet<()>,
    _folder: TempDir,
}

impl Socket {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("muster.sock");
        let listener = socket::bind(&path).expect("a socket");
        let mut incoming = listener.incoming().expect("takes connections");
        let service = Inner::new(Authorize::at_socket().layer(reached()));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // The file goes with it.
            let _listener = listener;
            let mut connections = JoinSet::new();
            while let Some(Ok(stream)) = incoming.next().await {
                let service = service.clone();
                let calls =
                    service_fn(move |request: http::Request<Incoming>| service.clone().oneshot(request.map(Body::new)));
                let served = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), calls);
                connections.spawn(served);
            }
        });
        let endpoint = Endpoint::from_shared(format!("unix://{}", path.display())).expect("an address");
        let channel = soon("connecting", endpoint.connect()).await.expect("connects");
        Self { channel, _serving: serving, _folder: folder }
    }
}

#[tokio::test]
async fn every_rpc_by_every_caller() {
    let (site, socket) = (Site::start().await, Socket::open().await);
    let channels = [
        ("nobody", site.nobody().await),
        ("other CA", site.channel(&site.foreign())),
        ("expired", site.channel(&site.expired(WORKER).await)),
        ("removed", site.channel(&site.keeper(REMOVED, Role::Manager))),
        ("new worker", site.channel(&site.keeper(NEW, Role::Worker))),
        ("new manager", site.channel(&site.keeper(NEW, Role::Manager))),
        ("worker", site.channel(&site.keeper(WORKER, Role::Worker))),
        ("another worker", site.channel(&site.keeper(ANOTHER_WORKER, Role::Worker))),
        ("promoted", site.channel(&site.keeper(MANAGER, Role::Worker))),
        ("demoted", site.channel(&site.keeper(DEMOTED, Role::Manager))),
        ("manager", site.channel(&site.keeper(MANAGER, Role::Manager))),
        ("local", socket.channel.clone()),
    ];
    let name = name_of(WORKER);
    let in_the_workers_name = [PASSED_ON, (ORIGIN, &name)];
    let mut shown = String::new();
    for rpc in authorization::rpcs() {
        let mut answers = Vec::new();
        for (caller, channel) in &channels {
            let headers = if *caller == "another worker" { &in_the_workers_name[..] } else { &[] };
            answers.push((*caller, send(channel, &rpc, headers).await));
        }
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
        Dispatcher/Session: new worker, new manager, worker, another worker, promoted, demoted, manager
        Membership/Join: nobody, manager
        Membership/Renew: expired, new worker, new manager, worker, another worker, promoted, demoted, manager
        Membership/Depart: new worker, new manager, worker, another worker, promoted, demoted, manager
        Raft/Append: new manager, demoted, manager
        Raft/Vote: new manager, demoted, manager
        Raft/InstallSnapshot: new manager, demoted, manager
        Raft/Elect: new manager, demoted, manager
        Whereabouts/Tell: new manager, demoted, manager
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
    let another = site.channel(&site.keeper(ANOTHER_WORKER, Role::Worker));
    let told = send(&another, SESSION, &[PASSED_ON, (ORIGIN, &name_of(WORKER))]).await;
    assert_eq!(told.message(), format!("reached by {ANOTHER_WORKER} worker"), "whatever it says of itself");
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
