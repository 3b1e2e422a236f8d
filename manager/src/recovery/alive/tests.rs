//! What is made of a node that answers, that answers late, and that does not.

use std::{future::pending, io};

use futures_util::{FutureExt, future::BoxFuture};
use muster_core::{
    apply::apply,
    command::{Command, Entry, LogPosition},
};
use muster_proto::{
    cluster::ClusterSpec,
    id::NodeId,
    node::{NodeSpec, Role},
    v1::{
        RaftRequest, RaftResponse, SnapshotPiece,
        raft_server::{Raft, RaftServer},
    },
    version::{RaftId, Term},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Streaming, metadata::MetadataValue, transport::Server};

use super::*;
use crate::{
    ca::{Alpn, Authority, Credentials, Expect, Keeper, NODE_VALIDITY, Part},
    clock::{Clock, WallClock},
    connect::Stream,
    outside::network::HostNetwork,
};

const CLUSTER: ClusterId = ClusterId::from_bits(1);
const NODE: NodeId = NodeId::from_bits(1);

/// Of a cluster whose one node is there.
fn copy(address: &str) -> State {
    let found = Command::CreateCluster {
        id: CLUSTER,
        spec: ClusterSpec::default(),
        node_id: NODE,
        node: NodeSpec { role: Role::Manager, ..NodeSpec::default() },
        address: address.to_owned(),
        founding: None,
    };
    let mut state = State::default();
    apply(&mut state, LogPosition { term: Term(1), index: 1 }, &Entry::new(Timestamp::EPOCH, None, found));
    state
}

async fn found_at(address: &str, connect: impl Connect, network: impl Network) -> Found {
    managers(&copy(address), Timestamp::EPOCH, Arc::new(connect), Arc::new(network)).await
}

fn running(address: &str) -> Found {
    Found { running: vec![address.to_owned()], unclear: Vec::new() }
}

fn unclear(address: &str, why: Unclear) -> Found {
    Found { running: Vec::new(), unclear: vec![(address.to_owned(), why)] }
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// In the clear, after so long.
#[derive(Debug)]
struct After(Duration);

impl Connect for After {
    fn connect(&self, peer: &Peer) -> BoxFuture<'static, io::Result<Stream>> {
        let (after, address) = (self.0, peer.address.clone());
        async move {
            sleep(after).await;
            Ok(Box::new(TcpStream::connect(address).await?) as Stream)
        }
        .boxed()
    }
}

const AT_ONCE: After = After(Duration::ZERO);

/// A manager's certificate is shown and a node's wanted.
#[derive(Debug)]
struct Secured(Keeper);

impl Connect for Secured {
    fn connect(&self, peer: &Peer) -> BoxFuture<'static, io::Result<Stream>> {
        let (keeper, address) = (self.0.clone(), peer.address.clone());
        async move {
            let stream = keeper.dial(&address, Expect::Node(NODE), Alpn::Grpc).await;
            stream.map(|stream| Box::new(stream) as Stream).map_err(io::Error::other)
        }
        .boxed()
    }
}

fn keeper(authority: &Authority) -> Keeper {
    let part = Part::Manager(RaftId(1));
    let credentials = Credentials::issue(authority, NODE, part, WallClock.now(), NODE_VALIDITY).unwrap();
    Keeper::new(credentials).unwrap()
}

fn authority() -> Authority {
    Authority::create(CLUSTER, WallClock.now()).unwrap()
}

/// What is answered to a vote; none: nothing ever.
#[derive(Debug)]
struct Answers(Option<Result<(), Status>>);

#[tonic::async_trait]
impl Raft for Answers {
    async fn vote(&self, _: Request<RaftRequest>) -> Result<Response<RaftResponse>, Status> {
        match self.0.clone() {
            Some(answer) => answer.map(|()| Response::new(RaftResponse::default())),
            None => pending().await,
        }
    }

    async fn append(&self, _: Request<RaftRequest>) -> Result<Response<RaftResponse>, Status> {
        unreachable!("nobody is ended by the question")
    }

    async fn elect(&self, _: Request<RaftRequest>) -> Result<Response<RaftResponse>, Status> {
        unreachable!("nobody is ended by the question")
    }

    async fn install_snapshot(&self, _: Request<Streaming<SnapshotPiece>>) -> Result<Response<RaftResponse>, Status> {
        unreachable!("nobody is ended by the question")
    }
}

/// Its address.
async fn serve(answer: Option<Result<(), Status>>) -> String {
    let (listener, address) = listen().await;
    let server = Server::builder().add_service(RaftServer::new(Answers(answer)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

#[tokio::test]
async fn nobody_is_where_no_connection_comes_about() {
    let (listener, closed) = listen().await;
    drop(listener);
    assert_eq!(found_at(&closed, AT_ONCE, HostNetwork).await, Found::default());
}

/// As a host without power is.
#[derive(Debug)]
struct Silence;

impl Network for Silence {
    fn connect(&self, _address: &str) -> BoxFuture<'static, io::Result<Stream>> {
        pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_where_all_is_silent() {
    let begun = Instant::now();
    assert_eq!(found_at("10.0.0.1:7377", AT_ONCE, Silence).await, Found::default());
    assert!(begun.elapsed() <= ANSWER_MAX + PAUSE);
}

#[tokio::test]
async fn a_manager_that_is_slow_is_one() {
    let address = serve(Some(Ok(()))).await;
    let slow = After(Duration::from_secs(1));
    assert_eq!(found_at(&address, slow, HostNetwork).await, running(&address));
}

#[tokio::test]
async fn who_knows_no_such_call_is_no_manager() {
    let mut no_manager = Status::failed_precondition("this node is a worker");
    no_manager.metadata_mut().insert(NO_MANAGER_METADATA, MetadataValue::from_static("1"));
    for answer in [Status::unimplemented("what"), no_manager] {
        let address = serve(Some(Err(answer))).await;
        assert_eq!(found_at(&address, AT_ONCE, HostNetwork).await, Found::default());
    }
}

#[tokio::test]
async fn who_takes_connections_and_is_not_known_for_what_it_is_is_told_of() {
    let address = serve(None).await;
    assert_eq!(found_at(&address, AT_ONCE, HostNetwork).await, unclear(&address, Unclear::Silent));
    let address = serve(Some(Err(Status::unavailable("it stops")))).await;
    let said = Unclear::Said("it stops".to_owned());
    assert_eq!(found_at(&address, AT_ONCE, HostNetwork).await, unclear(&address, said));
    let (_never_accepts, address) = listen().await;
    let secured = Secured(keeper(&authority()));
    assert_eq!(found_at(&address, secured, HostNetwork).await, unclear(&address, Unclear::Silent));
}

#[tokio::test]
async fn who_is_of_another_root_is_told_of() {
    let (listener, address) = listen().await;
    let other = keeper(&authority());
    tokio::spawn(async move {
        loop {
            let (stream, _from) = listener.accept().await.unwrap();
            drop(TlsAcceptor::from(other.server_config()).accept(stream).await);
        }
    });
    let secured = Secured(keeper(&authority()));
    assert_eq!(found_at(&address, secured, HostNetwork).await, unclear(&address, Unclear::Unproven));
}
