//! A real engine for a test: an image of the demo app alone, made here, and everything removed again, whatever happens.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use bollard::query_parameters::{CreateImageOptions, RemoveImageOptions};
use futures_util::StreamExt;
use muster_proto::{
    assignment::Assignment,
    container::ContainerSpec,
    endpoint::{PortConfig, Protocol, PublishMode},
    id::{ClusterId, NodeId, ServiceId, TaskId},
    isolation::OnIsolation,
    pin::ImagePin,
    placement::Placement,
    resources::{Limits, ResourceRequirements},
    restart::RestartPolicy,
    task::{Slot, TaskSpec, Template},
    task_state::DesiredState,
    version::Fence,
};

use super::*;

static BENCHES: AtomicU32 = AtomicU32::new(0);

/// The demo app, compiled once for all tests of this process: nothing in an image but this file.
fn app() -> &'static [u8] {
    static APP: OnceLock<Vec<u8>> = OnceLock::new();
    APP.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo-app/src/main.rs");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let binary = folder.path().join("app");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let status = Command::new(rustc)
            .args(["--edition", "2024", "-O", "-C", "target-feature=+crt-static", "-C", "strip=symbols", "-o"])
            .args([binary.as_os_str(), source.as_os_str()])
            .status()
            .expect("rustc runs");
        assert!(status.success(), "the demo app compiles");
        std::fs::read(binary).expect("the compiled app")
    })
}

fn layer() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(app().len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, "app", app()).expect("in memory");
    archive.into_inner().expect("in memory")
}

/// One cluster's worth of an engine.
pub(super) struct Bench {
    pub(super) docker: Docker,
    pub(super) identity: Identity,
    pub(super) tag: String,
    pub(super) image_id: String,
}

impl Bench {
    /// None where there is no engine, having said so; under CI that is a failure.
    pub(super) async fn new(changes: &[&str]) -> Option<Self> {
        if !Path::new(Docker::SOCKET).exists() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must have a Docker Engine");
            println!("skipped: no Docker Engine");
            return None;
        }
        let unique = u128::from(std::process::id()) << 64 | u128::from(BENCHES.fetch_add(1, Ordering::Relaxed));
        let started = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
        let identity =
            Identity { cluster_id: ClusterId::from_bits(unique ^ started << 16), node_id: NodeId::from_bits(unique) };
        let docker = connect(Docker::SOCKET, identity);
        let repository = format!("muster-test-{}", identity.cluster_id);
        let all_changes = ["ENTRYPOINT [\"/app\"]"].iter().chain(changes).map(|&change| change.to_owned());
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository.clone()),
            tag: Some("1".to_owned()),
            changes: all_changes.collect(),
            ..CreateImageOptions::default()
        };
        let client = docker.client().expect("the socket is there");
        let mut answers = client.create_image(Some(options), Some(bollard::body_full(layer().into())), None);
        while let Some(answer) = answers.next().await {
            answer.expect("the engine imports the image");
        }
        let tag = format!("{repository}:1");
        let image_id = client.inspect_image(&tag).await.expect("it is there now").id.expect("it has an id");
        Some(Self { docker, identity, tag, image_id })
    }

    pub(super) fn assignment(&self, task: u64, change: impl FnOnce(&mut ContainerSpec, &mut Limits)) -> Assignment {
        let mut container = ContainerSpec::new(&self.tag);
        container.pin = Some(ImagePin::LocalId(self.image_id.clone()));
        let mut limits = Limits::default();
        change(&mut container, &mut limits);
        let spec = TaskSpec {
            container,
            resources: ResourceRequirements::default(),
            restart: RestartPolicy::default(),
            placement: Placement::default(),
            force_update: 0,
            on_isolation: OnIsolation::default(),
        };
        // Names are shared by all of the engine: the bits keep those of two benches apart.
        let bits = self.identity.cluster_id.bits() ^ u128::from(task);
        Assignment {
            task_id: TaskId::from_bits(bits),
            service_id: ServiceId::from_bits(7),
            service_name: "web".to_owned(),
            slot: Slot::Number(3),
            fence: Fence(42),
            desired: DesiredState::Running,
            template: Arc::new(Template { spec, host_ports: Vec::new() }),
            limits,
        }
    }

    pub(super) fn assignment_on_host_port(&self, task: u64, published: u16) -> Assignment {
        let mut assignment = self.assignment(task, |_, _| {});
        let port = PortConfig { protocol: Protocol::Tcp, target: 8000, published, mode: PublishMode::Host };
        let spec = assignment.template.spec.clone();
        assignment.template = Arc::new(Template { spec, host_ports: vec![port] });
        assignment
    }

    pub(super) async fn prepared(&self, assignment: &Assignment) -> ContainerId {
        self.docker.prepare(assignment, &|_| {}).await.expect("prepared").container
    }

    /// The exit of a task that ends by itself.
    pub(super) async fn exit_of(&self, assignment: &Assignment) -> Exit {
        let container = self.prepared(assignment).await;
        self.docker.start(&container).await.expect("started");
        self.docker.wait(&container).await.expect("ended")
    }

    pub(super) async fn all_logs(&self, container: &ContainerId, options: LogOptions) -> Vec<LogRecord> {
        self.docker.logs(container, options).map(|record| record.expect("a record")).collect().await
    }
}

impl Drop for Bench {
    /// On a thread of its own: dropping happens inside a runtime, also while a test panics.
    fn drop(&mut self) {
        let (identity, image) = (self.identity, self.image_id.clone());
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let docker = connect(Docker::SOCKET, identity);
                for found in docker.list().await.expect("listed") {
                    docker.remove(&found.container).await.expect("removed");
                }
                let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
                docker.client()?.remove_image(&image, Some(options), None).await.map_err(failure::of_engine)
            })
        });
        match removal.join() {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => eprintln!("an image of a test is left: {error}"),
            Err(_) => eprintln!("containers of a test are left"),
        }
    }
}

pub(super) fn connect(socket: impl Into<PathBuf>, identity: Identity) -> Docker {
    Docker::connect(Options { socket: socket.into(), identity })
}

pub(super) fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}
