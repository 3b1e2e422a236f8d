//! Several managers in one process, each in a folder of its own, over plain TCP on loopback.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use muster_core::{
    command::{Command, Founding, LOG_FORMAT, Outcome},
    state::{State, snapshot::Snapshot},
};
use muster_manager::{
    Bootstrap, Config, Handle, Manager, Outside, RunError, Start,
    authorization::Caller,
    ca::{ClusterKey, PeerIdentity},
    connect::{Connect, Stream},
    outside::SnapshotEvery,
    preflight::Preflight,
    raft::{
        Peer,
        grpc::Grpc,
        transport::{Call, Chunks, Target, Transport, TransportError},
    },
};
use muster_proto::{
    cluster::ClusterSpec,
    container::ContainerSpec,
    endpoint::EndpointSpec,
    id::{ClusterId, NodeId, ServiceId, TokenId},
    isolation::OnIsolation,
    node::{NodeSpec, Role},
    pin::{ImagePin, Unresolved},
    placement::Placement,
    resources::ResourceRequirements,
    restart::RestartPolicy,
    rollout::UpdateConfig,
    service::{Mode, ServiceSpec},
    task::TaskSpec,
    time::Timestamp,
    trust::{CertificateAuthority, Digest, NodeCertificate, Root, Token},
    v1::{
        self, control_client::ControlClient, dispatcher_client::DispatcherClient, membership_client::MembershipClient,
    },
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Server, server::TcpConnectInfo},
};

use crate::disk::{Trouble, Troubled};

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bits(1);
/// Generous: a machine under load must not fail a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("{what} did not happen in {PATIENCE:?}"))
}

#[derive(Debug)]
struct NoHost;

#[async_trait]
impl Preflight for NoHost {
    async fn resolve_image(&self, _image: &str) -> Result<ImagePin, Unresolved> {
        Ok(ImagePin::Digest(format!("sha256:{}", "1".repeat(64))))
    }

    async fn check_ingress_port(&self, _port: u16) -> Result<(), String> {
        Ok(())
    }
}

/// Who cannot reach whom. Connections that exist when a pair is cut break.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wires(Arc<Mutex<Cuts>>);

#[derive(Debug, Default)]
struct Cuts {
    cut: BTreeSet<(u64, u64)>,
    open: BTreeMap<(u64, u64), CancellationToken>,
    /// What a connection that is made for a snapshot carries. None: as much as it can.
    bytes_per_s: Option<usize>,
    /// The same for calls.
    calls_bytes_per_s: Option<usize>,
    /// Whose calls nobody takes any more, as when its certificate has run out; and how often it has called.
    shut_out: BTreeMap<u64, u64>,
}

impl Wires {
    /// Both ways.
    pub(crate) fn isolate(&self, one: u64, others: impl IntoIterator<Item = u64>) {
        let mut cuts = self.0.lock().unwrap();
        for other in others {
            for pair in [(one, other), (other, one)] {
                cuts.cut.insert(pair);
                if let Some(open) = cuts.open.remove(&pair) {
                    open.cancel();
                }
            }
        }
    }

    pub(crate) fn mend(&self) {
        self.0.lock().unwrap().cut.clear();
    }

    /// Snapshots that are sent from now on come no faster.
    pub(crate) fn slow_snapshots(&self, bytes_per_s: usize) {
        self.0.lock().unwrap().bytes_per_s = Some(bytes_per_s);
    }

    /// Connections for calls come no faster from now on. Those that exist break.
    pub(crate) fn slow_calls(&self, bytes_per_s: usize) {
        let mut cuts = self.0.lock().unwrap();
        cuts.calls_bytes_per_s = Some(bytes_per_s);
        std::mem::take(&mut cuts.open).into_values().for_each(|open| open.cancel());
    }

    fn calls_bytes_per_s(&self) -> Option<usize> {
        self.0.lock().unwrap().calls_bytes_per_s
    }

    pub(crate) fn shut_out(&self, id: u64) {
        self.0.lock().unwrap().shut_out.insert(id, 0);
    }

    /// Returns once it has called in vain so often.
    pub(crate) async fn refused(&self, id: u64, times: u64) {
        soon("calls in vain", async {
            while self.0.lock().unwrap().shut_out.get(&id).is_none_or(|refused| *refused < times) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(crate) fn let_in(&self, id: u64) {
        self.0.lock().unwrap().shut_out.remove(&id);
    }

    fn is_shut_out(&self, id: u64) -> bool {
        self.0.lock().unwrap().shut_out.get_mut(&id).map(|refused| *refused += 1).is_some()
    }

    fn snapshots_bytes_per_s(&self) -> Option<usize> {
        self.0.lock().unwrap().bytes_per_s
    }

    fn connection(&self, pair: (u64, u64)) -> Option<CancellationToken> {
        let mut cuts = self.0.lock().unwrap();
        (!cuts.cut.contains(&pair)).then(|| cuts.open.entry(pair).or_default().clone())
    }
}

/// A piece of what it may carry every hundredth of a second.
async fn trickle(mut near: DuplexStream, mut far: TcpStream, bytes_per_s: usize) -> io::Result<()> {
    let (mut from, mut back) = tokio::io::split(&mut near);
    let (mut there, mut to) = far.split();
    let send = async {
        let mut pieces = interval(Duration::from_millis(10));
        pieces.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut piece = vec![0; bytes_per_s / 100];
        loop {
            pieces.tick().await;
            match from.read(&mut piece).await? {
                0 => return to.shutdown().await,
                read => to.write_all(&piece[..read]).await?,
            }
        }
    };
    tokio::try_join!(send, tokio::io::copy(&mut there, &mut back)).map(|_| ())
}

/// gRPC, but for calls of one that is shut out.
#[derive(Debug)]
struct Calls {
    short: Grpc,
    snapshots: Grpc,
    me: u64,
    wires: Wires,
}

impl Calls {
    fn is_refused(&self) -> Option<TransportError> {
        let refused = || TransportError::Refused("the certificate has run out".into());
        self.wires.is_shut_out(self.me).then(refused)
    }
}

impl Transport for Calls {
    fn call<'a>(
        &'a self,
        target: &'a Target,
        call: Call,
        message: Vec<u8>,
    ) -> BoxFuture<'a, Result<Vec<u8>, TransportError>> {
        match self.is_refused() {
            Some(why) => Box::pin(async { Err(why) }),
            None => self.short.call(target, call, message),
        }
    }

    fn snapshot<'a>(
        &'a self,
        target: &'a Target,
        offer: Vec<u8>,
        chunks: Chunks,
    ) -> BoxFuture<'a, Result<Vec<u8>, TransportError>> {
        match self.is_refused() {
            Some(why) => Box::pin(async { Err(why) }),
            None => self.snapshots.snapshot(target, offer, chunks),
        }
    }

    fn tell<'a>(&'a self, peer: &'a Peer, word: v1::TellRequest) -> BoxFuture<'a, Result<(), TransportError>> {
        match self.is_refused() {
            Some(why) => Box::pin(async { Err(why) }),
            None => self.short.tell(peer, word),
        }
    }
}

#[derive(Debug)]
struct Plain {
    me: u64,
    wires: Wires,
    carries: Carries,
}

#[derive(Clone, Copy, Debug)]
enum Carries {
    Calls,
    Snapshots,
}

impl Connect for Plain {
    fn connect(&self, peer: &Peer) -> BoxFuture<'static, io::Result<Stream>> {
        let other = u64::try_from(peer.node_id.bits()).unwrap();
        let (connection, address) = (self.wires.connection((self.me, other)), peer.address.clone());
        let bytes_per_s = match self.carries {
            Carries::Calls => self.wires.calls_bytes_per_s(),
            Carries::Snapshots => self.wires.snapshots_bytes_per_s(),
        };
        Box::pin(async move {
            let Some(cut) = connection else {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the wire is cut"));
            };
            let mut far = TcpStream::connect(address).await?;
            far.set_nodelay(true)?;
            // Bytes pass a pipe that breaks with the wire.
            let (near, mut between) = tokio::io::duplex(1 << 20);
            tokio::spawn(async move {
                let carried = async {
                    match bytes_per_s {
                        Some(bytes_per_s) => trickle(between, far, bytes_per_s).await,
                        None => tokio::io::copy_bidirectional(&mut between, &mut far).await.map(drop),
                    }
                };
                tokio::select! {
                    () = cut.cancelled() => {}
                    _ended = carried => {}
                }
            });
            Ok(Box::new(near) as Stream)
        })
    }
}

/// A manager whose Raft id and node id are the same number; runs or not.
pub(crate) struct One {
    pub(crate) id: u64,
    pub(crate) folder: TempDir,
    pub(crate) address: String,
    pub(crate) trouble: Arc<Trouble>,
    snapshot_every: SnapshotEvery,
    wires: Wires,
    running: Option<Running>,
}

struct Running {
    handle: Handle,
    stop: CancellationToken,
    run: JoinHandle<Result<(), RunError>>,
    /// Dropped: its connections break, as at a SIGKILL.
    server: JoinSet<()>,
}

impl One {
    async fn new(id: u64, wires: &Wires, snapshot_every: SnapshotEvery) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { id, folder, address, trouble: Arc::default(), snapshot_every, wires: wires.clone(), running: None }
    }

    pub(crate) fn connect(&self) -> Arc<dyn Connect> {
        Arc::new(Plain { me: self.id, wires: self.wires.clone(), carries: Carries::Calls })
    }

    pub(crate) async fn start(&mut self, begin: Start) {
        let config = Config {
            data_dir: self.folder.path().to_owned(),
            cluster_id: CLUSTER,
            node_id: node(self.id),
            raft_id: self.id,
            advertise_addr: self.address.clone(),
            cluster_key: ClusterKey::generate().unwrap(),
            preflight: Arc::new(NoHost),
        };
        let calls = Calls {
            short: Grpc::new(self.connect()),
            snapshots: Grpc::new(Arc::new(Plain {
                me: self.id,
                wires: self.wires.clone(),
                carries: Carries::Snapshots,
            })),
            me: self.id,
            wires: self.wires.clone(),
        };
        let mut outside = Outside::of_host(Arc::new(calls));
        outside.disk = Arc::new(Troubled {
            disk: outside.disk,
            trouble: self.trouble.clone(),
            snapshot_every: self.snapshot_every,
        });
        let manager = soon("opening", Manager::open(config, outside, begin)).await.unwrap();
        let handle = manager.handle();
        let listener = soon("listening", listen(&self.address)).await;
        let mut server = JoinSet::new();
        let control = handle.forward(self.connect(), handle.control());
        let membership = handle.forward(self.connect(), handle.membership());
        let membership = InterceptedService::new(membership, identify);
        let dispatcher = InterceptedService::new(handle.dispatcher(), identify);
        let router = Server::builder()
            .add_service(handle.raft())
            .add_service(control)
            .add_service(membership)
            .add_service(dispatcher);
        server.spawn(async move { router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() });
        let stop = CancellationToken::new();
        let run = tokio::spawn({
            let stop = stop.clone();
            async move { manager.run(stop).await }
        });
        self.running = Some(Running { handle, stop, run, server });
    }

    /// What users of its host call.
    pub(crate) async fn control(&self) -> ControlClient<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        ControlClient::new(soon("connecting", endpoint.connect()).await.unwrap())
    }

    /// What its node calls.
    pub(crate) async fn membership(&self) -> MembershipClient<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        MembershipClient::new(soon("connecting", endpoint.connect()).await.unwrap())
    }

    /// What its agent calls.
    pub(crate) async fn dispatcher(&self) -> DispatcherClient<Channel> {
        let endpoint = Channel::from_shared(format!("http://{}", self.address)).unwrap();
        DispatcherClient::new(soon("connecting", endpoint.connect()).await.unwrap())
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.running.as_ref().expect("it runs").handle
    }

    /// Nobody hears of it any more, all at once; it does not know.
    pub(crate) async fn cut_off(&mut self) {
        let running = self.running.as_mut().expect("it runs");
        self.wires.isolate(self.id, 0..20);
        running.server.shutdown().await;
    }

    pub(crate) async fn kill(&mut self) {
        self.cut_off().await;
        let Running { stop, run, .. } = self.running.take().expect("it runs");
        stop.cancel();
        soon("stopping", run).await.unwrap().unwrap();
        self.wires.mend();
    }

    /// Waits until it stops by itself.
    pub(crate) async fn stopped(&mut self) -> RunError {
        let Running { run, .. } = self.running.take().expect("it runs");
        soon("stopping by itself", run).await.unwrap().expect_err("a reason")
    }

    pub(crate) async fn propose(&self, command: Command) -> Outcome {
        soon("a proposal", self.handle().replica().propose(command)).await.unwrap()
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let replica = self.handle().replica();
        let mut changes = replica.changes();
        soon(what, async {
            while !replica.read(&holds) {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }

    pub(crate) async fn voters(&self, voters: impl IntoIterator<Item = u64>) {
        let wanted = voters.into_iter().collect::<BTreeSet<_>>();
        let group = self.handle().members().until(|group| group.voters == wanted && !group.changing);
        soon(&format!("voters {wanted:?}"), group).await;
    }

    pub(crate) fn has(&self, service: u64) -> bool {
        self.handle().replica().read(|state| state.service(service_id(service)).is_some())
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.handle.replica().leading().is_some())
    }
}

/// Whom a call to the membership service is from, as its certificate would say.
pub(crate) const CALLER: &str = "test-caller";

/// A host without a certificate, at this address, as the port would say.
pub(crate) const STRANGER: &str = "test-stranger";

fn identify(mut request: Request<()>) -> Result<Request<()>, Status> {
    if let Some(address) = request.metadata_mut().remove(STRANGER) {
        let remote_addr = Some((address.to_str().unwrap().parse::<IpAddr>().unwrap(), 7377).into());
        request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr });
        request.extensions_mut().insert(Caller::Nobody);
    }
    if let Some(id) = request.metadata().get(CALLER) {
        let (node_id, role) = (id.to_str().unwrap().parse().unwrap(), Role::Manager);
        let identity =
            PeerIdentity { cluster_id: CLUSTER, node_id, role, raft_id: None, root: None, expires_at: Timestamp::MAX };
        request.extensions_mut().insert(identity);
    }
    Ok(request)
}

/// The port was used a moment ago.
async fn listen(address: &str) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

pub(crate) struct Bench {
    pub(crate) wires: Wires,
    pub(crate) all: BTreeMap<u64, One>,
    snapshot_every: SnapshotEvery,
}

impl Bench {
    /// Managers 1 to `count`; the first begins and the others are let in.
    pub(crate) async fn of(count: u64) -> Self {
        Self::that_saves(SnapshotEvery::default(), count).await
    }

    /// The same, with snapshots as often as this.
    pub(crate) async fn that_saves(snapshot_every: SnapshotEvery, count: u64) -> Self {
        let wires = Wires::default();
        let mut first = One::new(1, &wires, snapshot_every).await;
        first
            .start(Start::Cluster(Bootstrap { spec: ClusterSpec::default(), founding: Some(Box::new(founding())) }))
            .await;
        let mut bench = Self { wires, all: BTreeMap::from([(1, first)]), snapshot_every };
        for _ in 1..count {
            bench.add().await;
        }
        let all = bench.all.keys().copied().collect::<Vec<_>>();
        bench.all[&1].voters(all).await;
        bench
    }

    /// Another manager: its row is in the state before it starts, as after a join.
    pub(crate) async fn add(&mut self) -> u64 {
        let id = self.all.keys().max().unwrap() + 1;
        let mut one = One::new(id, &self.wires, self.snapshot_every).await;
        self.leader().await.propose(join(id, &one.address)).await;
        one.start(Start::Member).await;
        self.all.insert(id, one);
        id
    }

    pub(crate) fn one(&self, id: u64) -> &One {
        &self.all[&id]
    }

    pub(crate) fn one_mut(&mut self, id: u64) -> &mut One {
        self.all.get_mut(&id).expect("there is one")
    }

    /// As far as it knows.
    pub(crate) async fn until_another_leads(&self, than: u64) {
        soon("another leader", async {
            while !self.all.values().any(|one| one.id != than && one.is_leader()) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until one leads that a majority agrees on.
    pub(crate) async fn leader(&self) -> &One {
        soon("a leader", async {
            loop {
                for one in self.all.values().filter(|one| one.is_leader()) {
                    if timeout(Duration::from_secs(2), one.handle().replica().barrier())
                        .await
                        .is_ok_and(|done| done.is_ok())
                    {
                        return one;
                    }
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// The state of all that run, once it is the same.
    pub(crate) async fn agreed(&self) {
        let applied = self.leader().await.handle().replica().read(State::applied);
        let mut snapshots = Vec::new();
        for one in self.all.values().filter(|one| one.running.is_some()) {
            one.until("the leader's entries", |state| state.applied() >= applied).await;
            snapshots.push(one.handle().replica().read(Snapshot::of));
        }
        assert!(snapshots.windows(2).all(|pair| pair[0] == pair[1]), "copies differ");
    }
}

pub(crate) fn node(id: u64) -> NodeId {
    NodeId::from_bits(id.into())
}

pub(crate) fn service_id(number: u64) -> ServiceId {
    ServiceId::from_bits(number.into())
}

pub(crate) fn join(id: u64, address: &str) -> Command {
    Command::AdmitNode {
        id: node(id),
        spec: NodeSpec::default(),
        address: address.to_owned(),
        token: TOKEN,
        certificate: certificate(id),
        log_format: LOG_FORMAT,
    }
}

/// A manager's next certificate, with which it says what its muster reads.
pub(crate) fn certify(id: u64, log_format: u16) -> Command {
    Command::CertifyNode { id: node(id), certificate: certificate(id), log_format }
}

const TOKEN: TokenId = TokenId::from_bits(1);
const ROOT: Digest = Digest([0; 32]);

/// Nobody looks at the certificates here: the wires are plain.
fn certificate(id: u64) -> NodeCertificate {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&id.to_be_bytes());
    NodeCertificate { key: Digest(key), root: ROOT, role: Role::Manager, expires_at: Timestamp::MAX, shown: None }
}

fn founding() -> Founding {
    let root = Root { certificate_pem: String::new(), digest: ROOT };
    let token = Token {
        id: TOKEN,
        role: Role::Manager,
        hash: Digest([1; 32]),
        created_at: Timestamp::EPOCH,
        expires_at: None,
        uses_left: None,
    };
    Founding {
        authority: CertificateAuthority { root, sealed_key: Vec::new(), previous: None, crossed_pem: None },
        certificate: certificate(1),
        tokens: vec![token],
        log_format: LOG_FORMAT,
    }
}

pub(crate) fn service(number: u64) -> Command {
    service_of(number, 0)
}

/// With a label as long as asked.
pub(crate) fn service_of(number: u64, bytes: usize) -> Command {
    Command::CreateService { id: service_id(number), spec: Box::new(spec(number, bytes)) }
}

pub(crate) fn create(number: u64) -> v1::CreateServiceRequest {
    v1::CreateServiceRequest { spec: Some((&spec(number, 0)).into()) }
}

fn spec(number: u64, bytes: usize) -> ServiceSpec {
    let task = TaskSpec {
        container: ContainerSpec::new("myapp:1.0.0"),
        resources: ResourceRequirements::default(),
        restart: RestartPolicy::default(),
        placement: Placement::default(),
        force_update: 0,
        on_isolation: OnIsolation::default(),
    };
    ServiceSpec {
        name: format!("s{number}"),
        labels: BTreeMap::from([("filler".to_owned(), "x".repeat(bytes))]),
        task,
        mode: Mode::Replicated { replicas: 0 },
        update: UpdateConfig::default(),
        rollback: UpdateConfig::default(),
        endpoint: EndpointSpec::default(),
    }
}
