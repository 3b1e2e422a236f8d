//! A manager of one in a temporary folder, served on loopback.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use muster_manager::{
    Bootstrap, Config, Handle, Manager, Outside, Start,
    ca::{ClusterKey, NodeKey, PeerIdentity},
    clock::{Clock, WallClock},
    founding,
    outside::random::HostRandom,
    preflight::Preflight,
    raft::alone::Alone,
};
use muster_proto::{
    cluster::ClusterSpec,
    container::ContainerSpec,
    endpoint::{EndpointSpec, PortConfig, Protocol, PublishMode},
    id::{ClusterId, NodeId},
    isolation::OnIsolation,
    node::Role,
    pin::{ImagePin, Unresolved},
    placement::Placement,
    resources::ResourceRequirements,
    restart::RestartPolicy,
    rollout::UpdateConfig,
    service::{Mode, ServiceSpec},
    task::TaskSpec,
    time::Timestamp,
    v1::{
        self, control_client::ControlClient, dispatcher_client::DispatcherClient, membership_client::MembershipClient,
    },
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Server},
};

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bits(1);
pub(crate) const NODE: NodeId = NodeId::from_bits(2);
/// What `app:1` and `app:2` mean at first.
pub(crate) const ONE: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
pub(crate) const TWO: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
/// For whatever shall happen; far above what it takes, so that only a hang meets it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, happens).await.unwrap_or_else(|_| panic!("{what} did not happen in {DEADLINE:?}"))
}

/// What this host answers: which images a registry has, and which ports are held. Tests change it.
#[derive(Debug, Default)]
pub(crate) struct Host(Mutex<(BTreeMap<String, String>, BTreeSet<u16>)>);

impl Host {
    pub(crate) fn push(&self, image: &str, digest: &str) {
        self.0.lock().expect("no test panics with it").0.insert(image.to_owned(), digest.to_owned());
    }

    /// By "another process".
    pub(crate) fn hold(&self, port: u16) {
        self.0.lock().expect("no test panics with it").1.insert(port);
    }
}

#[async_trait]
impl Preflight for Host {
    async fn resolve_image(&self, image: &str) -> Result<ImagePin, Unresolved> {
        let (images, _) = &*self.0.lock().expect("no test panics with it");
        images
            .get(image)
            .cloned()
            .map(ImagePin::Digest)
            .ok_or_else(|| Unresolved::Missing("manifest unknown".to_owned()))
    }

    async fn check_ingress_port(&self, port: u16) -> Result<(), String> {
        let (_, held) = &*self.0.lock().expect("no test panics with it");
        match held.contains(&port) {
            true => Err(format!("port {port} is in use on this host by another process; stop it or take another")),
            false => Ok(()),
        }
    }
}

pub(crate) struct Bench {
    pub(crate) cluster_key: ClusterKey,
    pub(crate) handle: Handle,
    pub(crate) host: Arc<Host>,
    pub(crate) control: ControlClient<Channel>,
    channel: Channel,
    stop_manager: CancellationToken,
    stop_server: CancellationToken,
    tasks: JoinSet<()>,
    _folder: TempDir,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let myself = PeerIdentity {
            cluster_id: CLUSTER,
            node_id: NODE,
            role: Role::Manager,
            raft_id: None,
            root: None,
            expires_at: Timestamp::MAX,
        };
        Self::start_as(myself).await
    }

    /// Whoever calls the dispatcher is taken for this node.
    pub(crate) async fn start_as(peer: PeerIdentity) -> Self {
        let (key, node_key) = (ClusterKey::generate().expect("random"), NodeKey::generate().expect("random"));
        let (spec, now) = (ClusterSpec::default(), WallClock.now());
        let begun = founding::begin(CLUSTER, NODE, &node_key.public_der(), &key, spec, now, &HostRandom).expect("a CA");
        Self::found(peer, begun.bootstrap, key).await
    }

    pub(crate) async fn found(peer: PeerIdentity, bootstrap: Bootstrap, cluster_key: ClusterKey) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let host = Arc::new(Host::default());
        host.push("app:1", ONE);
        host.push("app:2", TWO);
        let config = Config {
            data_dir: folder.path().to_owned(),
            cluster_id: CLUSTER,
            node_id: NODE,
            raft_id: 1,
            advertise_addr: "127.0.0.1:7377".to_owned(),
            cluster_key: cluster_key.clone(),
            preflight: host.clone(),
        };
        let (outside, begin) = (Outside::of_host(Arc::new(Alone)), Start::Cluster(bootstrap));
        let manager = soon("opening", Manager::open(config, outside, begin)).await.expect("opens");
        let handle = manager.handle();
        let (stop_manager, stop_server) = (CancellationToken::new(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let stop = stop_manager.clone();
        tasks.spawn(async move { manager.run(stop).await.expect("runs") });

        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let identified = InterceptedService::new(handle.dispatcher(), move |mut request: Request<()>| {
            request.extensions_mut().insert(peer);
            Ok::<_, Status>(request)
        });
        let members = InterceptedService::new(handle.membership(), identify);
        let router = Server::builder().add_service(handle.control()).add_service(identified).add_service(members);
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
        let stop = stop_server.clone();
        tasks.spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await.expect("serves");
        });
        let channel = soon("connecting", endpoint.connect()).await.expect("connects");
        let control = ControlClient::new(channel.clone());
        Self { cluster_key, handle, host, control, channel, stop_manager, stop_server, tasks, _folder: folder }
    }

    pub(crate) fn membership(&self) -> MembershipClient<Channel> {
        MembershipClient::new(self.channel.clone())
    }

    pub(crate) fn dispatcher(&self) -> DispatcherClient<Channel> {
        DispatcherClient::new(self.channel.clone())
    }

    /// As the daemon stops: the manager ends its streams, and only then does the server end.
    pub(crate) async fn stop(mut self) {
        self.stop_manager.cancel();
        self.stop_server.cancel();
        soon("stopping", async { while self.tasks.join_next().await.transpose().expect("no panic").is_some() {} })
            .await;
    }

    pub(crate) async fn create(&mut self, spec: &ServiceSpec) -> Result<v1::CreateServiceResponse, Status> {
        let request = v1::CreateServiceRequest { spec: Some(spec.into()) };
        soon("create", self.control.create_service(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn service(&mut self, wanted: &str) -> Result<v1::Service, Status> {
        let request = v1::GetServiceRequest { service: wanted.to_owned() };
        let answer = soon("get", self.control.get_service(request)).await?;
        Ok(answer.into_inner().service.expect("a service"))
    }

    pub(crate) async fn update(
        &mut self,
        spec: &ServiceSpec,
        resolve_image: bool,
    ) -> Result<v1::UpdateServiceResponse, Status> {
        let current = self.service(&spec.name).await?;
        let request = v1::UpdateServiceRequest {
            id: current.id,
            version: current.version,
            spec: Some(spec.into()),
            resolve_image,
        };
        soon("update", self.control.update_service(request)).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn remove(&mut self, wanted: &str) -> Result<(), Status> {
        let request = v1::RemoveServiceRequest { id: wanted.to_owned() };
        soon("remove", self.control.remove_service(request)).await.map(|_| ())
    }

    pub(crate) async fn tasks(&mut self, wanted: &str) -> Vec<v1::Task> {
        let request = v1::ListTasksRequest { service_id: wanted.to_owned(), node_id: String::new() };
        soon("list", self.control.list_tasks(request)).await.expect("listed").into_inner().tasks
    }

    /// The first answer of a watch for which `holds`.
    pub(crate) async fn watch_until(
        &mut self,
        wanted: &str,
        what: &str,
        holds: impl Fn(&v1::WatchServiceResponse) -> bool,
    ) -> v1::WatchServiceResponse {
        soon(what, async {
            let request = v1::GetServiceRequest { service: wanted.to_owned() };
            let mut answers = self.control.watch_service(request).await.expect("watched").into_inner();
            loop {
                let answer = answers.message().await.expect("no error").expect("the service is there");
                if holds(&answer) {
                    return answer;
                }
            }
        })
        .await
    }
}

/// Whom a call to the membership service is from, as its certificate would say.
pub(crate) const CALLER: &str = "test-caller";
/// The root of that certificate.
pub(crate) const CALLERS_ROOT: &str = "test-callers-root";

fn identify(mut request: Request<()>) -> Result<Request<()>, Status> {
    let said = |name| request.metadata().get(name).map(|text| text.to_str().expect("ASCII").to_owned());
    let root = said(CALLERS_ROOT).map(|root| root.parse().expect("a digest"));
    if let Some(node_id) = said(CALLER).map(|id| id.parse().expect("an id")) {
        let role = Role::Worker;
        request.extensions_mut().insert(PeerIdentity {
            cluster_id: CLUSTER,
            node_id,
            role,
            raft_id: None,
            root,
            expires_at: Timestamp::MAX,
        });
    }
    Ok(request)
}

pub(crate) fn replicated(name: &str, image: &str, replicas: u32) -> ServiceSpec {
    ServiceSpec {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        task: TaskSpec {
            container: ContainerSpec::new(image),
            resources: ResourceRequirements::default(),
            restart: RestartPolicy::default(),
            placement: Placement::default(),
            force_update: 0,
            on_isolation: OnIsolation::default(),
        },
        mode: Mode::Replicated { replicas },
        update: UpdateConfig::default(),
        rollback: UpdateConfig::default(),
        endpoint: EndpointSpec::default(),
    }
}

pub(crate) fn publish(mut spec: ServiceSpec, published: u16) -> ServiceSpec {
    let port = PortConfig { protocol: Protocol::Tcp, target: 8_000, published, mode: PublishMode::Ingress };
    spec.endpoint.ports.push(port);
    spec
}

pub(crate) fn is_running(task: &v1::Task) -> bool {
    task.status.as_ref().is_some_and(|status| status.state() == v1::TaskState::Running)
}
