//! A daemon that says what a test told it to say, on a real socket, and notes what it was asked.

use std::{
    collections::VecDeque,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_proto::v1::{
    control_server::{Control, ControlServer},
    local_server::{Local, LocalServer},
};
use muster_proto::{cluster::ClusterSpec, v1};
use tokio::net::UnixListener;
use tokio_stream::{Stream, StreamExt, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::Fixed;
use crate::out::Out;

/// What the daemon knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) services: Vec<v1::Service>,
    pub(crate) tasks: Vec<v1::Task>,
    pub(crate) nodes: Vec<v1::Node>,
    pub(crate) logs: Vec<v1::LogLine>,
    pub(crate) membership: Option<v1::Member>,
    /// Given out one after another by a watch; the stream stays open after the last.
    pub(crate) watched: Vec<v1::WatchServiceResponse>,
    /// This many updates are refused because the service or node has changed.
    pub(crate) aborts_left: u32,
    pub(crate) created: Vec<v1::ServiceSpec>,
    pub(crate) updated: Vec<v1::UpdateServiceRequest>,
    pub(crate) nodes_updated: Vec<v1::UpdateNodeRequest>,
    pub(crate) removed: Vec<String>,
    pub(crate) logs_asked: Option<v1::ServiceLogsRequest>,
    pub(crate) nodes_removed: Vec<v1::RemoveNodeRequest>,
    /// What forced removals of nodes are answered, one after another, before one is done.
    pub(crate) removals_refused: VecDeque<Status>,
    pub(crate) warnings: Vec<String>,
    pub(crate) tokens_asked: Vec<v1::GetJoinTokenRequest>,
    pub(crate) managers: Vec<String>,
    /// Nodes that a rotation of the CA still waits for; one fewer with each look.
    pub(crate) ca_waiting_for: Vec<String>,
    pub(crate) ca_asked: Vec<bool>,
    pub(crate) backup: Vec<u8>,
    pub(crate) backups_asked: u32,
    pub(crate) joined: Vec<v1::JoinClusterRequest>,
    pub(crate) restored: Vec<v1::RestoreRequest>,
    /// Why no cluster can begin on this host.
    pub(crate) no_beginning: Option<&'static str>,
    pub(crate) recovered: Vec<v1::RecoverRequest>,
    /// So many streams of a watch, of logs or of a backup end for want of a leader after their first message.
    pub(crate) breaks_left: u32,
    pub(crate) rebalance: v1::RebalanceResponse,
    pub(crate) rebalances: Vec<v1::RebalanceRequest>,
    /// None: those that a cluster begins with.
    pub(crate) settings: Option<v1::ClusterSpec>,
    /// What the tasks are at each look at a node that follows a change of one, or at a service's that follows a
    /// rebalance.
    pub(crate) tasks_then: VecDeque<Vec<v1::Task>>,
    /// This host's node is a worker by now, or nobody's.
    pub(crate) denies_updates: bool,
    /// Somebody else makes this host's node a worker as soon as a node was updated.
    pub(crate) demotes_own: bool,
    /// So many calls about the cluster are refused for want of a leader.
    pub(crate) unavailable_left: u32,
}

/// What managers say while they have no leader.
const NO_LEADER: &str = "the managers have no leader; try again in a moment";

impl World {
    fn is_led(&mut self) -> Result<(), Status> {
        match self.unavailable_left.checked_sub(1) {
            Some(left) => {
                self.unavailable_left = left;
                Err(Status::unavailable(NO_LEADER))
            }
            None => Ok(()),
        }
    }

    fn may_begin(&self) -> Result<(), Status> {
        self.no_beginning.map_or(Ok(()), |why| Err(Status::failed_precondition(why)))
    }

    /// The messages of a stream, or of one that breaks.
    fn streamed<T>(&mut self, messages: Vec<T>) -> Vec<Result<T, Status>> {
        let mut messages: Vec<Result<T, Status>> = messages.into_iter().map(Ok).collect();
        if let Some(left) = self.breaks_left.checked_sub(1) {
            self.breaks_left = left;
            messages.truncate(1);
            messages.push(Err(Status::unavailable(NO_LEADER)));
        }
        messages
    }

    fn ca(&self) -> v1::RotateCaResponse {
        let is_begun = self.ca_asked.contains(&true);
        let (new, old) = ("2".repeat(64), "1".repeat(64));
        let rotating = is_begun && !self.ca_waiting_for.is_empty();
        v1::RotateCaResponse {
            rotating,
            root_digest: if is_begun { new } else { old.clone() },
            previous_digest: rotating.then_some(old),
            waiting_for: self.ca_waiting_for.clone(),
            nodes: 3,
            roots_pem: vec!["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()],
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<World>>);

impl Fake {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a command printed, its exit code, and what the daemon knows after it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) world: World,
}

/// Runs one command line against a daemon that knows this world.
pub(crate) fn run(world: World, line: &str) -> Ran {
    run_within(&Fixed::default(), world, line)
}

/// The same, where something around the command is said.
pub(crate) fn run_within(surroundings: &Fixed, world: World, line: &str) -> Ran {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("muster.sock");
    let fake = Fake(Arc::new(Mutex::new(world)));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = std::thread::spawn({
        let (fake, socket) = (fake.clone(), socket.clone());
        move || serve(fake, socket, &ready, stopped)
    });
    is_ready.recv().expect("the fake daemon listens");

    let (mut out, stdout, stderr) = Out::captured();
    let mut args = vec!["muster".to_owned(), "--host".to_owned(), socket.display().to_string()];
    args.extend(crate::spec::words::split(line).expect("the line can be split"));
    let code = crate::run(args.into_iter().map(Into::into), &mut out, surroundings);

    drop(stop);
    server.join().expect("the fake daemon ends");
    let world = fake.world().clone();
    Ran { code, stdout: stdout.text(), stderr: stderr.text(), world }
}

fn serve(
    fake: Fake,
    socket: PathBuf,
    ready: &std::sync::mpsc::Sender<()>,
    stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = UnixListener::bind(&socket).expect("a socket");
        ready.send(()).expect("the test waits");
        let server = Server::builder()
            .add_service(ControlServer::new(fake.clone()))
            .add_service(LocalServer::new(fake))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::select! {
            ended = server => ended.expect("the fake daemon serves"),
            // The sender is dropped when the command has ended.
            _ = stopped => {}
        }
    });
}

impl Fake {
    fn steer(&self, _: Request<v1::SteerRolloutRequest>) -> Answer<v1::UpdateServiceResponse> {
        let mut world = self.world();
        if world.aborts_left > 0 {
            world.aborts_left -= 1;
            return Err(Status::aborted("the service has changed since it was read; read it again"));
        }
        Ok(Response::new(v1::UpdateServiceResponse { version: 20, warnings: Vec::new() }))
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Control for Fake {
    type BackupStream = Answers<v1::BackupChunk>;
    type WatchServiceStream = Answers<v1::WatchServiceResponse>;
    type ServiceLogsStream = Answers<v1::LogLine>;

    async fn create_service(&self, request: Request<v1::CreateServiceRequest>) -> Answer<v1::CreateServiceResponse> {
        let spec = request.into_inner().spec.expect("the client sends one");
        let id = super::objects::id(&format!("s{}", spec.name));
        self.world().created.push(spec);
        Ok(Response::new(v1::CreateServiceResponse { id, warnings: vec!["the image has no tag".to_owned()] }))
    }

    async fn update_service(&self, request: Request<v1::UpdateServiceRequest>) -> Answer<v1::UpdateServiceResponse> {
        let mut world = self.world();
        if world.aborts_left > 0 {
            world.aborts_left -= 1;
            return Err(Status::aborted("the service has changed since it was read; read it again"));
        }
        world.updated.push(request.into_inner());
        Ok(Response::new(v1::UpdateServiceResponse { version: 20, warnings: Vec::new() }))
    }

    async fn rollback_service(&self, _: Request<v1::RollbackServiceRequest>) -> Answer<v1::UpdateServiceResponse> {
        Err(Status::failed_precondition(
            "service web has no previous spec to roll back to: it was never updated; change it with `muster service update web`",
        ))
    }

    async fn pause_rollout(&self, request: Request<v1::SteerRolloutRequest>) -> Answer<v1::UpdateServiceResponse> {
        self.steer(request)
    }

    async fn resume_rollout(&self, request: Request<v1::SteerRolloutRequest>) -> Answer<v1::UpdateServiceResponse> {
        self.steer(request)
    }

    async fn promote_service(&self, _: Request<v1::SteerRolloutRequest>) -> Answer<v1::UpdateServiceResponse> {
        Err(Status::failed_precondition("service web has no canary to promote; begin an update with one"))
    }

    async fn remove_service(&self, request: Request<v1::RemoveServiceRequest>) -> Answer<v1::RemoveServiceResponse> {
        self.world().removed.push(request.into_inner().id);
        Ok(Response::new(v1::RemoveServiceResponse {}))
    }

    async fn get_service(&self, request: Request<v1::GetServiceRequest>) -> Answer<v1::GetServiceResponse> {
        let name = request.into_inner().service;
        let world = self.world();
        let is_named = |service: &&v1::Service| service.id == name || service.spec.as_ref().unwrap().name == name;
        match world.services.iter().find(is_named) {
            Some(service) => Ok(Response::new(v1::GetServiceResponse { service: Some(service.clone()) })),
            None => Err(Status::not_found(format!("no service {name}; `muster service ls` lists them"))),
        }
    }

    async fn list_services(&self, _: Request<v1::ListServicesRequest>) -> Answer<v1::ListServicesResponse> {
        let world = self.world();
        let services = world.services.iter().map(|service| v1::ServiceSummary {
            service: Some(service.clone()),
            running: 2,
            desired: 3,
        });
        Ok(Response::new(v1::ListServicesResponse { services: services.collect() }))
    }

    async fn watch_service(&self, _: Request<v1::GetServiceRequest>) -> Answer<Self::WatchServiceStream> {
        let mut world = self.world();
        world.is_led()?;
        let watched = world.watched.clone();
        let watched = world.streamed(watched);
        let stream = tokio_stream::iter(watched).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksResponse> {
        let v1::ListTasksRequest { service_id, node_id } = request.into_inner();
        let mut world = self.world();
        if !world.rebalances.is_empty()
            && let Some(tasks) = world.tasks_then.pop_front()
        {
            world.tasks = tasks;
        }
        let is_asked = |task: &&v1::Task| {
            (service_id.is_empty() || task.service_id == service_id)
                && (node_id.is_empty() || task.node_id.as_ref() == Some(&node_id))
        };
        Ok(Response::new(v1::ListTasksResponse { tasks: world.tasks.iter().filter(is_asked).cloned().collect() }))
    }

    async fn service_logs(&self, request: Request<v1::ServiceLogsRequest>) -> Answer<Self::ServiceLogsStream> {
        let mut world = self.world();
        world.logs_asked = Some(request.into_inner());
        world.is_led()?;
        let lines = world.logs.clone();
        let lines = world.streamed(lines);
        Ok(Response::new(Box::pin(tokio_stream::iter(lines))))
    }

    async fn get_node(&self, request: Request<v1::GetNodeRequest>) -> Answer<v1::GetNodeResponse> {
        let name = request.into_inner().node;
        let mut world = self.world();
        world.is_led()?;
        if !world.nodes_updated.is_empty()
            && let Some(tasks) = world.tasks_then.pop_front()
        {
            world.tasks = tasks;
        }
        let own = world.membership.as_ref().map(|own| own.node_id.clone());
        if world.nodes.iter().any(|node| Some(&node.id) == own.as_ref() && node.role() == v1::Role::Worker) {
            return Err(Status::failed_precondition("this node is a worker and this is for managers"));
        }
        let is_named = |node: &&mut v1::Node| {
            node.id == name || node.description.as_ref().is_some_and(|description| description.hostname == name)
        };
        match world.nodes.iter_mut().find(is_named) {
            Some(node) => {
                let answer = v1::GetNodeResponse { node: Some(node.clone()) };
                // By the next look a new manager has caught up, and a former one has lost its vote.
                node.manager = match node.role() {
                    v1::Role::Manager => {
                        node.manager.map(|manager| v1::ManagerStatus { voter: true, lag: 0, ..manager })
                    }
                    v1::Role::Worker | v1::Role::Unspecified => None,
                };
                node.leader &= node.role() == v1::Role::Manager;
                Ok(Response::new(answer))
            }
            None => Err(Status::not_found(format!("no node {name}; `muster node ls` lists them"))),
        }
    }

    async fn update_node(&self, request: Request<v1::UpdateNodeRequest>) -> Answer<v1::UpdateNodeResponse> {
        let mut world = self.world();
        if world.aborts_left > 0 {
            world.aborts_left -= 1;
            return Err(Status::aborted("the node has changed since it was read; read it again"));
        }
        if world.denies_updates {
            return Err(Status::permission_denied("only managers may ask for that; run the command on one"));
        }
        let request = request.into_inner();
        if let Some(node) = world.nodes.iter_mut().find(|node| node.id == request.node) {
            node.availability = request.availability;
            match request.role() {
                v1::Role::Unspecified => {}
                // A new manager catches up before it votes: see `get_node`.
                v1::Role::Manager => {
                    node.role = request.role;
                    node.manager = Some(v1::ManagerStatus { raft_id: 7, voter: false, reachable: true, lag: 2 });
                }
                v1::Role::Worker => node.role = request.role,
            }
        }
        if world.demotes_own {
            let own = world.membership.as_ref().map(|own| own.node_id.clone());
            let own = world.nodes.iter_mut().filter(|node| Some(&node.id) == own.as_ref());
            own.for_each(|node| node.role = v1::Role::Worker.into());
        }
        world.nodes_updated.push(request);
        Ok(Response::new(v1::UpdateNodeResponse { version: 20, warnings: world.warnings.clone() }))
    }

    async fn remove_node(&self, request: Request<v1::RemoveNodeRequest>) -> Answer<v1::RemoveNodeResponse> {
        let mut world = self.world();
        let request = request.into_inner();
        if !request.force {
            return Err(Status::failed_precondition(
                "node host2 is up; run `muster leave` on it, or repeat with --force",
            ));
        }
        if let Some(refusal) = world.removals_refused.pop_front() {
            return Err(refusal);
        }
        world.is_led()?;
        world.nodes_removed.push(request);
        Ok(Response::new(v1::RemoveNodeResponse { warnings: world.warnings.clone() }))
    }

    async fn update_cluster(&self, request: Request<v1::UpdateClusterRequest>) -> Answer<v1::UpdateClusterResponse> {
        let mut world = self.world();
        if world.aborts_left > 0 {
            world.aborts_left -= 1;
            return Err(Status::aborted("the cluster has settings of a newer version; read them again"));
        }
        world.settings = request.into_inner().spec;
        Ok(Response::new(v1::UpdateClusterResponse { version: 2 }))
    }

    async fn rebalance(&self, request: Request<v1::RebalanceRequest>) -> Answer<v1::RebalanceResponse> {
        let mut world = self.world();
        let request = request.into_inner();
        let mut plan = world.rebalance.clone();
        plan.moves.truncate(request.max_moves as usize);
        world.rebalances.push(request);
        Ok(Response::new(plan))
    }

    async fn get_join_token(&self, request: Request<v1::GetJoinTokenRequest>) -> Answer<v1::GetJoinTokenResponse> {
        let mut world = self.world();
        world.is_led()?;
        let request = request.into_inner();
        let answer = v1::GetJoinTokenResponse {
            token: format!("MST-1-{}", request.role().as_str_name().to_lowercase()),
            expires_at: request.ttl_ms.map(|ttl| super::NOW.millis() + ttl),
            uses_left: request.uses,
            managers: world.managers.clone(),
        };
        world.tokens_asked.push(request);
        Ok(Response::new(answer))
    }

    async fn rotate_ca(&self, request: Request<v1::RotateCaRequest>) -> Answer<v1::RotateCaResponse> {
        let mut world = self.world();
        let is_begin = request.into_inner().begin;
        if !is_begin && world.ca_asked.contains(&true) {
            world.is_led()?;
            world.ca_waiting_for.pop();
        }
        world.ca_asked.push(is_begin);
        Ok(Response::new(world.ca()))
    }

    async fn backup(&self, _: Request<v1::BackupRequest>) -> Answer<Self::BackupStream> {
        let mut world = self.world();
        world.backups_asked += 1;
        let chunks = world.backup.chunks(1_000).map(|bytes| v1::BackupChunk { bytes: bytes.to_vec() }).collect();
        let chunks = world.streamed(chunks);
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }

    async fn list_nodes(&self, _: Request<v1::ListNodesRequest>) -> Answer<v1::ListNodesResponse> {
        Ok(Response::new(v1::ListNodesResponse { nodes: self.world().nodes.clone() }))
    }

    async fn get_cluster(&self, _: Request<v1::GetClusterRequest>) -> Answer<v1::GetClusterResponse> {
        self.world().is_led()?;
        Ok(Response::new(v1::GetClusterResponse {
            id: super::objects::id("c1"),
            created_at: super::NOW.millis(),
            task_history_limit: 5,
            heartbeat_ms: 1_000,
            lease_ms: 3_000,
            default_memory_limit_bytes: 1 << 30,
            default_pids_limit: 4_096,
            managers: 1,
            nodes: 1,
            services: 2,
            tasks_running: 7,
            term: 1,
            applied_index: 42,
            version: 1,
            spec: Some(self.world().settings.unwrap_or_else(|| (&ClusterSpec::default()).into())),
            incarnation: 1,
        }))
    }
}

#[tonic::async_trait]
impl Local for Fake {
    async fn init(&self, request: Request<v1::InitRequest>) -> Answer<v1::InitResponse> {
        Ok(Response::new(v1::InitResponse {
            cluster_id: super::objects::id("c1"),
            node_id: super::objects::id("n1"),
            advertise_addr: format!("{}:7377", request.into_inner().advertise_addr),
        }))
    }

    async fn join(&self, request: Request<v1::JoinClusterRequest>) -> Answer<v1::JoinClusterResponse> {
        let mut world = self.world();
        let request = request.into_inner();
        let managers = u32::try_from(world.managers.len()).expect("a few");
        let role = if managers == 0 { v1::Role::Worker } else { v1::Role::Manager };
        let answer = v1::JoinClusterResponse {
            cluster_id: super::objects::id("c1"),
            node_id: super::objects::id("n2"),
            role: role.into(),
            advertise_addr: "10.0.0.2:7377".to_owned(),
            voter: false,
            managers,
        };
        world.joined.push(request);
        Ok(Response::new(answer))
    }

    async fn restore(&self, request: Request<Streaming<v1::RestoreRequest>>) -> Answer<v1::RestoreResponse> {
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            if message.check_only {
                return self.world().may_begin().map(|()| Response::new(v1::RestoreResponse::default()));
            }
            self.world().restored.push(message);
        }
        Ok(Response::new(v1::RestoreResponse {
            cluster_id: super::objects::id("c1"),
            node_id: super::objects::id("n9"),
            advertise_addr: "10.0.0.9:7377".to_owned(),
            services: 2,
            nodes: 3,
        }))
    }

    async fn recover(&self, request: Request<v1::RecoverRequest>) -> Answer<v1::RecoverResponse> {
        let request = request.into_inner();
        let mut world = self.world();
        world.recovered.push(request);
        Ok(Response::new(v1::RecoverResponse {
            cluster_id: super::objects::id("c1"),
            incarnation: 2,
            former_managers: vec!["host2".to_owned(), "host3".to_owned()],
            services: 1,
        }))
    }

    async fn leave(&self, request: Request<v1::LeaveRequest>) -> Answer<v1::LeaveResponse> {
        match request.into_inner().force {
            true => {
                let warnings = self.world().warnings.clone();
                Ok(Response::new(v1::LeaveResponse { containers_removed: 3, warnings }))
            }
            false => Err(Status::failed_precondition("this node is the last manager; leave with --force")),
        }
    }

    async fn info(&self, _: Request<v1::InfoRequest>) -> Answer<v1::InfoResponse> {
        Ok(Response::new(v1::InfoResponse {
            version: "0.1.0".to_owned(),
            hostname: "host1".to_owned(),
            data_dir: "/var/lib/muster".to_owned(),
            listen_addr: "0.0.0.0:7377".to_owned(),
            engine: "docker".to_owned(),
            engine_version: "20.10.24".to_owned(),
            engine_unavailable: None,
            membership: self.world().membership.clone(),
            pid: 4711,
            state: None,
        }))
    }
}
