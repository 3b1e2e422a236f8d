//! A manager's own services behind the port: a session is that of the certificate's node, messages have a limit.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use hyper::body::{Body as HttpBody, Bytes, Frame};
use muster_manager::{
    Bootstrap, Config, Manager, Outside, Start,
    ca::{Authority, ClusterKey},
    clock::{Clock, WallClock},
    connect::{Connect, Stream as Duplex},
    preflight::Preflight,
    raft::{Peer, alone::Alone},
};
use muster_proto::{
    assignment::{AGENT_MESSAGE_BYTES_MAX, SESSION_PROTOCOL},
    cluster::ClusterSpec,
    id::NodeId,
    node::Role,
    pin::{ImagePin, Unresolved},
    v1::{
        self,
        agent_message::{Hello, Message, Reports},
        dispatcher_client::DispatcherClient,
    },
};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming, body::Body, service::Routes};
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

use super::site::{CLUSTER, MYSELF, NEW, Site, soon};

#[derive(Debug)]
struct NoHost;

#[async_trait]
impl Preflight for NoHost {
    async fn resolve_image(&self, _image: &str) -> Result<ImagePin, Unresolved> {
        Err(Unresolved::Missing("no registry has it".to_owned()))
    }

    async fn check_ingress_port(&self, _port: u16) -> Result<(), String> {
        Ok(())
    }
}

/// Nothing is passed on by the only manager.
#[derive(Debug)]
struct Nowhere;

impl Connect for Nowhere {
    fn connect(&self, _peer: &Peer) -> BoxFuture<'static, io::Result<Duplex>> {
        Box::pin(async { Err(io::ErrorKind::HostUnreachable.into()) })
    }
}

/// So many bytes, and the end never comes.
struct Unfinished(Option<Bytes>);

impl HttpBody for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

struct Running {
    site: Site,
    stop: CancellationToken,
    manager: JoinHandle<()>,
    _folder: TempDir,
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = Config {
            data_dir: folder.path().to_owned(),
            cluster_id: CLUSTER,
            node_id: MYSELF,
            raft_id: 1,
            advertise_addr: "127.0.0.1:7377".to_owned(),
            cluster_key: ClusterKey::generate().expect("random"),
            preflight: Arc::new(NoHost),
        };
        let begin = Start::Cluster(Bootstrap { spec: ClusterSpec::default(), founding: None });
        let outside = Outside::of_host(Arc::new(Alone));
        let manager = soon("opening", Manager::open(config, outside, begin)).await.expect("opens");
        let handle = manager.handle();
        let membership = handle.forward(Arc::new(Nowhere), handle.membership());
        let routes = Routes::new(handle.dispatcher()).add_service(membership).prepare();
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let manager = tokio::spawn(async move { manager.run(shutdown).await.expect("runs") });
        let authority = Authority::create(CLUSTER, WallClock.now()).expect("a CA");
        let site = Site::start_with(authority, BoxCloneSyncService::new(routes)).await;
        Self { site, stop, manager, _folder: folder }
    }

    /// A session of `node` by its certificate, which begins with what is given.
    async fn session(
        &self,
        node: NodeId,
        first: Message,
    ) -> Result<(mpsc::Sender<v1::AgentMessage>, Streaming<v1::ManagerMessage>), Status> {
        let (say, said) = mpsc::channel(4);
        say.send(v1::AgentMessage { message: Some(first) }).await.expect("room");
        let mut client = DispatcherClient::new(self.site.channel(&self.site.keeper(node, Role::Manager)));
        let opened = soon("the session", client.session(ReceiverStream::new(said))).await?;
        Ok((say, opened.into_inner()))
    }

    async fn stop(self) {
        self.stop.cancel();
        soon("the manager's end", self.manager).await.expect("no panic");
        self.site.stop().await;
    }
}

fn hello(node: NodeId) -> Message {
    Message::Hello(Hello {
        cluster_id: CLUSTER.to_string(),
        node_id: node.to_string(),
        protocol: SESSION_PROTOCOL,
        ..Hello::default()
    })
}

#[tokio::test]
async fn a_session_is_that_of_the_certificates_node() {
    let running = Running::start().await;
    let (_say, mut heard) = running.session(MYSELF, hello(MYSELF)).await.expect("its own");
    assert!(soon("the welcome", heard.message()).await.expect("no error").is_some());

    let refused = running.session(NEW, hello(MYSELF)).await.expect_err("another's");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("its certificate is that of node"), "{refused}");
    let refused = running.session(NEW, hello(NEW)).await.expect_err("no member");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("is not a member of this cluster"), "{refused}");
    running.stop().await;
}

/// It is held in memory before anything of it is looked at.
#[tokio::test]
async fn what_a_stranger_sends_is_not_held_beyond_what_a_join_takes() {
    let running = Running::start().await;
    let mut stranger = running.site.nobody().await;
    let request = http::Request::post("/muster.v1.Membership/Join").header("content-type", "application/grpc");
    let request = request.body(Body::new(Unfinished(Some(vec![0; 64 << 10].into())))).expect("a request");
    let answered = async { stranger.ready().await?.call(request).await };
    let answer = soon("an answer before the end", answered).await.expect("an answer");
    let told = Status::from_header_map(answer.headers()).expect("a status");
    assert_eq!(told.code(), Code::OutOfRange, "{told}");
    running.stop().await;
}

#[tokio::test]
async fn a_message_beyond_the_limit_ends_its_session_and_nothing_else() {
    let running = Running::start().await;
    let (other, mut heard_by_other) = running.session(MYSELF, hello(MYSELF)).await.expect("a session");
    soon("the welcome", heard_by_other.message()).await.expect("no error");

    let mut huge = hello(MYSELF);
    if let Message::Hello(hello) = &mut huge {
        hello.cluster_id = "x".repeat(AGENT_MESSAGE_BYTES_MAX + 1);
    }
    let refused = running.session(MYSELF, huge).await.expect_err("too large");
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");

    let report = Message::Reports(Reports { sequence: 1, reports: Vec::new() });
    other.send(v1::AgentMessage { message: Some(report) }).await.expect("the session goes on");
    let acknowledged = async {
        while let Some(message) = heard_by_other.message().await.expect("the session goes on") {
            if matches!(message.message, Some(v1::manager_message::Message::ReportsAck(_))) {
                return;
            }
        }
        panic!("the session ended");
    };
    soon("the acknowledgement", acknowledged).await;
    running.stop().await;
}
