//! A manager's own services behind the port: a session is that of the certificate's node, no worker speaks for another,
//! messages have a limit.

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
use muster_core::command::{Command, LOG_FORMAT};
use muster_manager::{
    Config, Handle, Manager, Outside, Start,
    ca::{Authority, ClusterKey, NodeKey},
    clock::{Clock, WallClock},
    connect::{Connect, Stream as Duplex},
    founding,
    outside::random::HostRandom,
    preflight::Preflight,
    raft::{Peer, alone::Alone},
};
use muster_proto::{
    assignment::{AGENT_MESSAGE_BYTES_MAX, SESSION_PROTOCOL},
    cluster::ClusterSpec,
    id::{NodeId, ServiceId, TaskId},
    node::{Availability, NodeSpec, Role},
    pin::{ImagePin, Unresolved},
    task_state::TaskState,
    v1::{
        self,
        agent_message::{Hello, Message, Reports},
        dispatcher_client::DispatcherClient,
        manager_message,
        membership_client::MembershipClient,
    },
};
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, Streaming, body::Body, metadata::MetadataValue, service::Routes};
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

use super::site::{ANOTHER_WORKER, CLUSTER, MYSELF, NEW, ORIGIN, PASSED_ON, Site, WORKER, name_of, soon};
use crate::testing::objects;

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
    handle: Handle,
    stop: CancellationToken,
    manager: JoinHandle<()>,
    _folder: TempDir,
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (cluster_key, key) = (ClusterKey::generate().expect("random"), NodeKey::generate().expect("random"));
        let (spec, now) = (ClusterSpec::default(), WallClock.now());
        let begun =
            founding::begin(CLUSTER, MYSELF, &key.public_der(), &cluster_key, spec, now, &HostRandom).expect("a CA");
        let config = Config {
            data_dir: folder.path().to_owned(),
            cluster_id: CLUSTER,
            node_id: MYSELF,
            raft_id: 1,
            advertise_addr: "127.0.0.1:7377".to_owned(),
            cluster_key,
            preflight: Arc::new(NoHost),
        };
        let begin = Start::Cluster(begun.bootstrap);
        let outside = Outside::of_host(Arc::new(Alone));
        let manager = soon("opening", Manager::open(config, outside, begin)).await.expect("opens");
        let handle = manager.handle();
        let membership = handle.forward(Arc::new(Nowhere), handle.membership());
        let routes = Routes::new(handle.dispatcher()).add_service(membership).prepare();
        let stop = CancellationToken::new();
        let shutdown = stop.clone();
        let manager = tokio::spawn(async move { manager.run(shutdown).await.expect("runs") });
        let authority = Authority::create(CLUSTER, now).expect("a CA");
        let site = Site::start_with(authority, BoxCloneSyncService::new(routes)).await;
        Self { site, handle, stop, manager, _folder: folder }
    }

    async fn propose(&self, command: Command) {
        soon("the command", self.handle.replica().propose(command)).await.expect("is carried out");
    }

    async fn admit(&self, node: NodeId, availability: Availability) {
        let spec = NodeSpec { role: Role::Worker, availability, ..NodeSpec::default() };
        self.propose(Command::JoinNode { id: node, spec, address: format!("10.0.0.{}:7377", node.bits()) }).await;
    }

    fn state_of(&self, task: TaskId) -> TaskState {
        self.handle.replica().read(|state| state.task(task).expect("it has a row").status.state)
    }

    fn knows(&self, node: NodeId) -> bool {
        self.handle.replica().read(|state| state.node(node).is_some())
    }

    fn membership(&self, node: NodeId) -> MembershipClient<tonic::transport::Channel> {
        MembershipClient::new(self.site.channel(&self.site.keeper(node, Role::Worker)))
    }

    /// A session of `node` by its certificate, which begins with what is given.
    async fn session(&self, node: NodeId, role: Role, first: Message) -> Result<Session, Status> {
        let (say, said) = mpsc::channel(4);
        say.send(v1::AgentMessage { message: Some(first) }).await.expect("room");
        let mut client = DispatcherClient::new(self.site.channel(&self.site.keeper(node, role)));
        let opened = soon("the session", client.session(ReceiverStream::new(said))).await?;
        Ok(Session { say, heard: opened.into_inner() })
    }

    async fn stop(self) {
        self.stop.cancel();
        soon("the manager's end", self.manager).await.expect("no panic");
        self.site.stop().await;
    }
}

struct Session {
    say: mpsc::Sender<v1::AgentMessage>,
    heard: Streaming<v1::ManagerMessage>,
}

impl Session {
    /// The first of its messages that `find` knows.
    async fn hear<T>(&mut self, what: &str, find: impl Fn(manager_message::Message) -> Option<T>) -> T {
        let heard = async {
            loop {
                let message = self.heard.message().await.expect("the session goes on").expect("the session goes on");
                if let Some(found) = message.message.and_then(&find) {
                    return found;
                }
            }
        };
        soon(what, heard).await
    }

    /// The tasks of the next message about tasks that `holds` for.
    async fn tasks(&mut self, what: &str, holds: impl Fn(&[v1::Assignment]) -> bool) -> Vec<v1::Assignment> {
        self.hear(what, |message| match message {
            manager_message::Message::Assignments(tasks) => Some(tasks.assign).filter(|tasks| holds(tasks)),
            _ => None,
        })
        .await
    }

    /// Returns once they are settled.
    async fn report(&mut self, reports: Vec<v1::TaskReport>) {
        let report = Message::Reports(Reports { sequence: 1, reports });
        self.say.send(v1::AgentMessage { message: Some(report) }).await.expect("the session goes on");
        self.hear("the acknowledgement", |message| match message {
            manager_message::Message::ReportsAck(ack) => Some(ack),
            _ => None,
        })
        .await;
    }
}

/// As a manager would pass it on for [`WORKER`].
fn in_the_workers_name<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(PASSED_ON.0, MetadataValue::from_static(PASSED_ON.1));
    request.metadata_mut().insert(ORIGIN, name_of(WORKER).parse().expect("ASCII"));
    request
}

fn runs(task: &v1::Assignment) -> v1::TaskReport {
    let status = v1::TaskStatus { state: v1::TaskState::Running.into(), at: 1_000, ..v1::TaskStatus::default() };
    v1::TaskReport { task_id: task.task_id.clone(), fence: task.fence, status: Some(status) }
}

fn described() -> Option<v1::NodeDescription> {
    Some(v1::NodeDescription {
        hostname: "b".to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        resources: Some(v1::Resources { nano_cpus: 1_000_000_000, memory_bytes: 1 << 30 }),
        engine: "sim".to_owned(),
        ..v1::NodeDescription::default()
    })
}

fn hello(node: NodeId) -> Message {
    Message::Hello(Hello {
        cluster_id: CLUSTER.to_string(),
        node_id: node.to_string(),
        protocol: SESSION_PROTOCOL,
        description: described(),
        ..Hello::default()
    })
}

#[tokio::test]
async fn a_session_is_that_of_the_certificates_node() {
    let running = Running::start().await;
    running.admit(ANOTHER_WORKER, Availability::Active).await;
    let mut own = running.session(MYSELF, Role::Manager, hello(MYSELF)).await.expect("its own");
    assert!(soon("the welcome", own.heard.message()).await.expect("no error").is_some());

    for (node, role) in [(NEW, Role::Manager), (ANOTHER_WORKER, Role::Worker)] {
        let Err(refused) = running.session(node, role, hello(MYSELF)).await else { panic!("another's") };
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("its certificate is that of node"), "{refused}");
    }
    let Err(refused) = running.session(NEW, Role::Manager, hello(NEW)).await else { panic!("no member") };
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("is not a member of this cluster"), "{refused}");
    running.stop().await;
}

#[tokio::test]
async fn a_worker_reports_on_no_task_of_another() {
    let running = Running::start().await;
    running.admit(WORKER, Availability::Active).await;
    running.admit(ANOTHER_WORKER, Availability::Drain).await;
    let (spec, _) = objects::create("--name web app:1").expect("the flags are right");
    running.propose(Command::CreateService { id: ServiceId::from_bits(1), spec: Box::new(spec) }).await;
    let mut own = running.session(WORKER, Role::Worker, hello(WORKER)).await.expect("a session");
    let tasks = own.tasks("a task", |tasks| !tasks.is_empty()).await;
    let task: TaskId = tasks[0].task_id.parse().expect("an id");

    let mut another = running.session(ANOTHER_WORKER, Role::Worker, hello(ANOTHER_WORKER)).await.expect("a session");
    assert_eq!(another.tasks("the whole set", |_| true).await, [], "nor does it hear of it");
    another.report(vec![runs(&tasks[0])]).await;
    assert!(running.state_of(task) < TaskState::Running, "settled, and not taken");
    own.report(vec![runs(&tasks[0])]).await;
    assert_eq!(running.state_of(task), TaskState::Running);
    running.stop().await;
}

#[tokio::test]
async fn a_worker_has_no_certificate_and_no_leave_for_another() {
    let running = Running::start().await;
    running.admit(WORKER, Availability::Active).await;
    running.admit(ANOTHER_WORKER, Availability::Active).await;
    let mut another = running.membership(ANOTHER_WORKER);
    let public_key = NodeKey::generate().expect("random").public_der();
    let request = v1::RenewRequest { public_key, log_format: LOG_FORMAT.into() };
    let granted = soon("the renewal", another.renew(in_the_workers_name(request))).await.expect("its own");
    assert_eq!(granted.into_inner().node_id, ANOTHER_WORKER.to_string());
    let holds = |node| running.handle.replica().read(|state| state.node(node).expect("a node").certificate.is_some());
    assert!(holds(ANOTHER_WORKER) && !holds(WORKER));

    let request = in_the_workers_name(v1::DepartRequest { force: false });
    soon("leaving", another.depart(request)).await.expect("lets itself go");
    assert!(running.knows(WORKER) && !running.knows(ANOTHER_WORKER));
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
    let mut other = running.session(MYSELF, Role::Manager, hello(MYSELF)).await.expect("a session");
    soon("the welcome", other.heard.message()).await.expect("no error");

    let mut huge = hello(MYSELF);
    if let Message::Hello(hello) = &mut huge {
        hello.cluster_id = "x".repeat(AGENT_MESSAGE_BYTES_MAX + 1);
    }
    let Err(refused) = running.session(MYSELF, Role::Manager, huge).await else { panic!("too large") };
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    other.report(Vec::new()).await;
    running.stop().await;
}
