//! A cluster of one manager, from `init` to a restart, through the public seams: what the daemon and the RPCs use.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use muster_core::{
    command::{Command, Outcome},
    rejection::Rejection,
    state::State,
};
use muster_manager::{
    Bootstrap, Config, Handle, Manager, OpenError, Outside, Start, ca::ClusterKey, preflight::Preflight,
    raft::alone::Alone,
};
use muster_proto::{
    assignment::TaskReport,
    cluster::ClusterSpec,
    container::ContainerSpec,
    endpoint::EndpointSpec,
    id::{ClusterId, NodeId, ServiceId},
    isolation::OnIsolation,
    node::{EngineHealth, NodeDescription, NodeSpec, NodeState},
    pin::{ImagePin, Unresolved},
    placement::Placement,
    resources::{ResourceRequirements, Resources},
    restart::RestartPolicy,
    rollout::UpdateConfig,
    service::{Mode, ServiceSpec},
    task::{TaskSpec, TaskStatus},
    task_state::TaskState,
    time::Timestamp,
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

const CLUSTER: ClusterId = ClusterId::from_bits(1);
const NODE: NodeId = NodeId::from_bits(2);
const OTHER: NodeId = NodeId::from_bits(4);
const SERVICE: ServiceId = ServiceId::from_bits(3);
/// Generous: a machine under load must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct NoHost;

#[async_trait]
impl Preflight for NoHost {
    async fn resolve_image(&self, image: &str) -> Result<ImagePin, Unresolved> {
        Err(Unresolved::Unknown(format!("nobody here knows {image}")))
    }

    async fn check_ingress_port(&self, _port: u16) -> Result<(), String> {
        Ok(())
    }
}

fn config(dir: &Path) -> Config {
    Config {
        data_dir: dir.to_owned(),
        cluster_id: CLUSTER,
        node_id: NODE,
        raft_id: 1,
        advertise_addr: "127.0.0.1:7377".into(),
        cluster_key: ClusterKey::generate().expect("random bytes"),
        preflight: Arc::new(NoHost),
    }
}

fn founding() -> Start {
    Start::Cluster(Bootstrap { spec: ClusterSpec::default(), founding: None })
}

fn host() -> Outside {
    Outside::of_host(Arc::new(Alone))
}

struct Running {
    handle: Handle,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl Running {
    async fn open(dir: &Path, begin: Start) -> Self {
        let manager = Manager::open(config(dir), host(), begin).await.unwrap();
        let (handle, stop) = (manager.handle(), CancellationToken::new());
        let run = tokio::spawn({
            let stop = stop.clone();
            async move { manager.run(stop).await.unwrap() }
        });
        Self { handle, stop, run }
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.run).await.unwrap().unwrap();
    }

    async fn propose(&self, command: Command) -> Outcome {
        self.handle.replica().propose(command).await.unwrap()
    }

    /// Waits until the state is as asked.
    async fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let mut changes = self.handle.replica().changes();
        let seen = timeout(PATIENCE, async {
            while !self.handle.replica().read(&holds) {
                changes.changed().await.unwrap();
            }
        });
        seen.await.unwrap_or_else(|_| {
            let tasks: Vec<_> = self.handle.replica().read(|state| state.tasks().cloned().collect());
            panic!("{what}: {tasks:#?}")
        });
    }
}

/// Heartbeats of these nodes, for as long as the work takes.
async fn with_heartbeats<T>(handle: &Handle, nodes: &[NodeId], work: impl Future<Output = T>) -> T {
    let mut heartbeat = tokio::time::interval(ClusterSpec::default().heartbeat / 4);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = heartbeat.tick() => nodes.iter().for_each(|node| handle.leases().renew(*node, Duration::ZERO)),
        }
    }
}

fn describe(id: NodeId, address: &str) -> Command {
    let description = NodeDescription {
        hostname: "one".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        resources: Resources { nano_cpus: 4_000_000_000, memory_bytes: 8 << 30 },
        engine: "sim".into(),
        engine_version: "1".into(),
        engine_labels: Default::default(),
        engine_health: EngineHealth::Ok,
        problems: Vec::new(),
        muster_version: "0.1.0".into(),
    };
    Command::DescribeNode { id, description: Box::new(description), address: address.into() }
}

fn service(id: ServiceId, name: &str, replicas: u32) -> Command {
    let task = TaskSpec {
        container: ContainerSpec::new("myapp:1.0.0"),
        resources: ResourceRequirements::default(),
        restart: RestartPolicy::default(),
        placement: Placement::default(),
        force_update: 0,
        on_isolation: OnIsolation::default(),
    };
    let spec = ServiceSpec {
        name: name.into(),
        labels: Default::default(),
        task,
        mode: Mode::Replicated { replicas },
        update: UpdateConfig::default(),
        rollback: UpdateConfig::default(),
        endpoint: EndpointSpec::default(),
    };
    Command::CreateService { id, spec: Box::new(spec) }
}

fn placed(state: &State) -> usize {
    state.tasks_of_service(SERVICE).filter(|task| task.node_id == Some(NODE)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_planned_and_survives_a_restart() {
    let dir = TempDir::new().unwrap();
    let manager = Running::open(dir.path(), founding()).await;
    manager.propose(describe(NODE, "127.0.0.1:7377")).await;
    let created = async {
        assert!(matches!(manager.propose(service(SERVICE, "web", 3)).await, Outcome::Done { .. }));
        manager.until("three tasks placed", |state| placed(state) == 3).await;
    };
    with_heartbeats(&manager.handle, &[NODE], created).await;

    let tasks: Vec<_> = manager
        .handle
        .replica()
        .read(|state| state.tasks_of_service(SERVICE).map(|task| (task.id, task.fence)).collect());
    let status = |state| TaskStatus::new(state, Timestamp::from_millis(5), "");
    let report = |state| {
        let reports =
            tasks.iter().map(|(task_id, fence)| TaskReport { task_id: *task_id, fence: *fence, status: status(state) });
        manager.handle.reports().submit(NODE, reports.collect())
    };
    report(TaskState::Running).await.unwrap();
    let before = manager.handle.replica().read(Clone::clone);
    assert!(before.tasks_of_service(SERVICE).all(|task| task.status.state == TaskState::Running));
    manager.stop().await;

    let manager = Running::open(dir.path(), Start::Again).await;
    manager.handle.replica().barrier().await.unwrap();
    let after = manager.handle.replica().read(Clone::clone);
    assert_eq!(after.tasks().collect::<Vec<_>>(), before.tasks().collect::<Vec<_>>());
    assert_eq!(after.services().collect::<Vec<_>>(), before.services().collect::<Vec<_>>());
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_waits_for_a_node_and_gets_it_with_its_first_heartbeat() {
    let dir = TempDir::new().unwrap();
    let manager = Running::open(dir.path(), founding()).await;
    manager.propose(describe(NODE, "127.0.0.1:7377")).await;
    manager.propose(service(SERVICE, "web", 1)).await;
    manager
        .until("a task that says what it waits for", |state| {
            state.tasks_of_service(SERVICE).any(|task| task.node_id.is_none() && task.waiting.is_some())
        })
        .await;
    assert_eq!(manager.handle.leases().state(NODE), NodeState::Unknown);
    with_heartbeats(&manager.handle, &[NODE], manager.until("the task placed", |state| placed(state) == 1)).await;
    assert_eq!(manager.handle.leases().state(NODE), NodeState::Ready);
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tasks_of_a_lost_node_are_replaced_on_another() {
    let dir = TempDir::new().unwrap();
    let manager = Running::open(dir.path(), founding()).await;
    manager.propose(Command::JoinNode { id: OTHER, spec: NodeSpec::default(), address: "127.0.0.1:7378".into() }).await;
    manager.propose(describe(NODE, "127.0.0.1:7377")).await;
    manager.propose(describe(OTHER, "127.0.0.1:7378")).await;
    let on = |state: &State, node| {
        state.tasks_of_service(SERVICE).filter(|task| task.node_id == Some(node) && task.is_active()).count()
    };
    let spread = async {
        let ready = async {
            while [NODE, OTHER].iter().any(|node| manager.handle.leases().state(*node) != NodeState::Ready) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, ready).await.expect("two ready nodes");
        manager.propose(service(SERVICE, "web", 4)).await;
        manager.until("two tasks on each", |state| (on(state, NODE), on(state, OTHER)) == (2, 2)).await;
    };
    with_heartbeats(&manager.handle, &[NODE, OTHER], spread).await;

    let replaced = manager.until("four tasks on the node that is left", |state| on(state, NODE) == 4);
    with_heartbeats(&manager.handle, &[NODE], replaced).await;
    assert_eq!(manager.handle.leases().state(OTHER), NodeState::Down);
    assert_eq!(manager.handle.leases().state(NODE), NodeState::Ready);
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_proposals_all_get_their_own_answer() {
    let dir = TempDir::new().unwrap();
    let manager = Running::open(dir.path(), founding()).await;
    let proposals = (0..200u128).map(|number| {
        let replica = manager.handle.replica().clone();
        // Two of each name: one of them must be refused.
        let command = service(ServiceId::from_bits(100 + number), &format!("s{}", number / 2), 0);
        tokio::spawn(async move { replica.propose(command).await.unwrap() })
    });
    let mut versions = std::collections::BTreeSet::new();
    let mut refused = 0;
    for proposal in proposals.collect::<Vec<_>>() {
        match proposal.await.unwrap() {
            Outcome::Done { version } => assert!(versions.insert(version), "two changes under one version"),
            Outcome::Rejected(Rejection::NameTaken { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((versions.len(), refused), (100, 100));
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn init_can_be_repeated_and_keeps_what_is_there() {
    let dir = TempDir::new().unwrap();
    let manager = Running::open(dir.path(), founding()).await;
    manager.propose(service(SERVICE, "web", 0)).await;
    manager.stop().await;
    let manager = Running::open(dir.path(), founding()).await;
    assert!(manager.handle.replica().read(|state| state.service(SERVICE).is_some()));
    assert_eq!(manager.handle.replica().read(|state| state.nodes().count()), 1);
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_without_a_cluster_or_of_another_one_is_refused() {
    let dir = TempDir::new().unwrap();
    let missing = Manager::open(config(dir.path()), host(), Start::Again).await.unwrap_err();
    assert!(missing.to_string().contains("`muster init`"), "{missing}");

    Running::open(dir.path(), founding()).await.stop().await;
    let other = Config { cluster_id: ClusterId::from_bits(9), ..config(dir.path()) };
    let refused = Manager::open(other, host(), Start::Again).await.unwrap_err();
    assert!(matches!(refused, OpenError::OtherCluster { found: CLUSTER, .. }), "{refused}");
    // The refusal left nothing running on the folder.
    Running::open(dir.path(), Start::Again).await.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_proposes_to_a_stopped_manager_is_told() {
    let dir = TempDir::new().unwrap();
    let manager = Running::open(dir.path(), founding()).await;
    let replica = manager.handle.replica().clone();
    manager.stop().await;
    let refused = replica.propose(Command::RemoveService { id: SERVICE }).await.unwrap_err();
    assert_eq!(refused.to_string(), "this manager is stopping; repeat the command once it runs again");
}
