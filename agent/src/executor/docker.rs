//! Docker Engine as an executor, through its API (1.41 and newer: Engine 20.10 on).
//!
//! The agent calls it; it calls nobody but the engine's socket. Only containers that carry this cluster's and this
//! node's labels are seen, so several daemons can share an engine. Nothing is kept between calls but the last
//! description: an engine that restarts, or was not there yet, is met by the next call.

mod create;
mod failure;
mod image;
mod inspect;
mod output;
mod reference;

use std::{
    collections::HashMap,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bollard::{
    API_DEFAULT_VERSION, Docker as Client,
    models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum, SystemInfo},
    query_parameters::{
        CreateContainerOptions, EventsOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
        RemoveContainerOptions, StartContainerOptions, StopContainerOptions, WaitContainerOptions,
    },
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use muster_proto::{
    assignment::Assignment,
    node::EngineHealth,
    pin::{ImagePin, Unresolved},
    resources::{NANO_CPUS_PER_CORE, Resources},
};
use tokio::{
    sync::{RwLock, Semaphore},
    time::{Instant, sleep, timeout},
};

use crate::executor::{
    ContainerId, ContainerState, EngineDescription, ExecOutput, Executor, ExecutorError, Exit, Found, Identity,
    LogOptions, LogRecord, Prepared, Result,
};

/// For one answer. Creating and starting take an engine that is busy with many containers a while.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// A heartbeat waits for the description.
const DESCRIBE_MAX: Duration = Duration::from_secs(2);

/// What the engine may take to end a container beyond its grace period.
const STOP_MARGIN: Duration = Duration::from_secs(60);

/// For a removal that somebody else began.
const REMOVAL_MAX: Duration = Duration::from_secs(30);
const REMOVAL_POLL: Duration = Duration::from_millis(100);

/// 128 + SIGKILL: how a container ends that the kernel killed for memory.
const EXIT_SIGKILL: i32 = 137;

/// How long the engine's word of an out-of-memory kill may come after its word of the end.
const OOM_WORD_MAX: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub struct Options {
    /// The engine's socket, usually [`Docker::SOCKET`].
    pub socket: PathBuf,
    pub identity: Identity,
}

#[derive(Debug)]
pub struct Docker {
    options: Options,
    described: Mutex<EngineDescription>,
    /// Held for reading by each creation until the engine has answered it. Whoever holds it for writing knows that what
    /// was begun before is there, or never will be.
    creating: Arc<RwLock<()>>,
    pulls: Semaphore,
}

/// Images pulled at the same time. The engine loads three layers at once, whatever is asked of it.
const PULLS_MAX: usize = 4;

impl Docker {
    pub const SOCKET: &str = "/var/run/docker.sock";

    const NAME: &str = "docker";

    /// Makes no connection yet: an engine that comes up later is met then.
    #[must_use]
    pub fn connect(options: Options) -> Self {
        let described = EngineDescription {
            name: Self::NAME,
            version: String::new(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            resources: Resources::default(),
            labels: Default::default(),
            health: EngineHealth::Unavailable("not asked yet".to_owned()),
        };
        Self { options, described: Mutex::new(described), creating: Arc::default(), pulls: Semaphore::new(PULLS_MAX) }
    }

    /// Whether an engine answers on the socket; to choose an executor by.
    pub async fn ping(&self) -> Result<()> {
        let client = self.client()?;
        match timeout(DESCRIBE_MAX, client.ping()).await {
            Ok(answer) => answer.map(drop).map_err(failure::of_engine),
            Err(_) => Err(ExecutorError::Unavailable(self.silence())),
        }
    }

    fn silence(&self) -> String {
        let socket = self.options.socket.display();
        format!("Docker Engine at {socket} did not answer within {} s; check that it runs", DESCRIBE_MAX.as_secs())
    }

    fn client(&self) -> Result<Client> {
        // Cheap: connections are made for each request.
        let socket = self.options.socket.to_string_lossy();
        Client::connect_with_unix(&socket, ANSWER_MAX.as_secs(), API_DEFAULT_VERSION).map_err(|_| {
            ExecutorError::Unavailable(format!("Docker Engine's socket {socket} is not there; start Docker Engine"))
        })
    }

    async fn inspected(&self, container: &str) -> Result<ContainerInspectResponse> {
        let options = None::<InspectContainerOptions>;
        self.client()?.inspect_container(container, options).await.map_err(failure::of_container)
    }

    /// The container that an earlier try for this task made and could not report.
    async fn adopt(&self, assignment: &Assignment, name: &str) -> Result<ContainerId> {
        let found = self.inspected(name).await?;
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        match (create::owner(&self.options.identity, &labels), found.id) {
            (Some((task_id, _)), Some(id)) if task_id == assignment.task_id => Ok(ContainerId(id)),
            (Some(_) | None, _) => Err(ExecutorError::Failed(format!(
                "the name {name} is taken by a container that is not this task's; remove that container"
            ))),
        }
    }

    async fn found(&self, summary: ContainerSummary) -> Result<Option<Found>> {
        let labels = summary.labels.unwrap_or_default();
        let (Some((task_id, fence)), Some(id)) = (create::owner(&self.options.identity, &labels), summary.id) else {
            return Ok(None);
        };
        let container = ContainerId(id);
        let running = matches!(summary.state, Some(ContainerSummaryStateEnum::RUNNING));
        let state = if running {
            let networks = summary.network_settings.and_then(|settings| settings.networks);
            ContainerState::Running { address: inspect::address(networks) }
        } else {
            // The list has no exit code.
            match self.inspect(&container).await {
                Ok(state) => state,
                Err(ExecutorError::Gone) => return Ok(None),
                Err(error) => return Err(error),
            }
        };
        let isolation_grace = create::isolation_grace(&labels);
        Ok(Some(Found { container, task_id, fence, state, isolation_grace }))
    }

    /// The engine may tell of the end before it has noted why, so a SIGKILL under a memory limit is looked up in its
    /// events.
    async fn was_oom_killed(&self, container: &ContainerId) -> Result<bool> {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), vec!["oom".to_owned()]),
            ("container".to_owned(), vec![container.0.clone()]),
        ]);
        let options = EventsOptions { since: Some("1".to_owned()), until: None, filters: Some(filters) };
        let client = self.client()?;
        let mut events = std::pin::pin!(client.events(Some(options)));
        match timeout(OOM_WORD_MAX, events.next()).await {
            Ok(Some(Ok(_))) => Ok(true),
            Ok(Some(Err(error))) => Err(failure::of_engine(error)),
            Ok(None) | Err(_) => Ok(false),
        }
    }

    fn described(&self, health: EngineHealth) -> EngineDescription {
        let mut known = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        known.health = health;
        known.clone()
    }

    fn describe_as(&self, engine: SystemInfo) -> EngineDescription {
        let positive = |value: Option<i64>| value.and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
        let labels = engine.labels.unwrap_or_default();
        let description = EngineDescription {
            name: Self::NAME,
            version: engine.server_version.unwrap_or_default(),
            os: engine.os_type.unwrap_or_default(),
            arch: engine.architecture.unwrap_or_default(),
            resources: Resources {
                nano_cpus: positive(engine.ncpu) * NANO_CPUS_PER_CORE,
                memory_bytes: positive(engine.mem_total),
            },
            labels: labels
                .into_iter()
                .map(|label| match label.split_once('=') {
                    Some((key, value)) => (key.to_owned(), value.to_owned()),
                    None => (label, String::new()),
                })
                .collect(),
            health: EngineHealth::Ok,
        };
        *self.described.lock().unwrap_or_else(PoisonError::into_inner) = description.clone();
        description
    }
}

fn state_of(found: ContainerInspectResponse) -> ContainerState {
    let networks = found.network_settings.and_then(|settings| settings.networks);
    inspect::state(found.state.unwrap_or_default(), inspect::address(networks))
}

#[async_trait]
impl Executor for Docker {
    async fn describe(&self) -> EngineDescription {
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return self.described(EngineHealth::Unavailable(error.into_reason())),
        };
        let (described, pinged) =
            tokio::join!(timeout(DESCRIBE_MAX, client.info()), timeout(DESCRIBE_MAX, client.ping()));
        match (described, pinged) {
            (Ok(Ok(engine)), _) => self.describe_as(engine),
            // An engine that starts many containers takes its time to count them; it is there nevertheless.
            (Err(_), Ok(Ok(_))) => self.described(EngineHealth::Ok),
            (Ok(Err(error)), _) | (Err(_), Ok(Err(error))) => {
                self.described(EngineHealth::Unavailable(failure::of_engine(error).into_reason()))
            }
            (Err(_), Err(_)) => self.described(EngineHealth::Unavailable(self.silence())),
        }
    }

    async fn resolve(&self, image: &str) -> std::result::Result<ImagePin, Unresolved> {
        let client = self.client().map_err(|error| Unresolved::Unknown(error.to_string()))?;
        image::resolve(&client, image).await
    }

    async fn fetch(&self, assignment: &Assignment, progress: &(dyn Fn(String) + Send + Sync)) -> Result<()> {
        let (client, spec) = (self.client()?, &assignment.template.spec.container);
        if image::is_here(&client, spec).await? {
            return Ok(());
        }
        let _pull = self.pulls.acquire().await.map_err(|_closed| ExecutorError::Failed("stopping".to_owned()))?;
        image::ensure(&client, spec, progress).await.map(drop)
    }

    async fn prepare(&self, assignment: &Assignment, progress: &(dyn Fn(String) + Send + Sync)) -> Result<Prepared> {
        let client = self.client()?;
        let local = image::ensure(&client, &assignment.template.spec.container, progress).await?;
        let image_health = local.inspected.config.and_then(|config| config.healthcheck).and_then(inspect::health);
        let name = create::name(assignment);
        let options = CreateContainerOptions { name: Some(name.clone()), ..CreateContainerOptions::default() };
        let body = create::body(&self.options.identity, assignment, &local.name);
        progress("creating the container".to_owned());
        let creating = self.creating.clone().read_owned().await;
        // Goes on when the caller breaks off: the engine makes the container either way, and a list that did not wait
        // for it would miss it. Whoever lists waits for it by the lock.
        let created = tokio::spawn(async move {
            let created = client.create_container(Some(options), body).await;
            drop(creating);
            created
        });
        let created =
            created.await.map_err(|_| ExecutorError::Failed("creating the container broke off".to_owned()))?;
        let container = match created {
            Ok(created) => ContainerId(created.id),
            Err(error) if failure::is_conflict(&error) => self.adopt(assignment, &name).await?,
            Err(error) => return Err(failure::of_create(error)),
        };
        Ok(Prepared { container, image_health })
    }

    async fn start(&self, container: &ContainerId) -> Result<Option<IpAddr>> {
        let options = None::<StartContainerOptions>;
        self.client()?.start_container(&container.0, options).await.map_err(failure::of_start)?;
        let settings = self.inspected(&container.0).await?.network_settings;
        Ok(inspect::address(settings.and_then(|settings| settings.networks)))
    }

    async fn inspect(&self, container: &ContainerId) -> Result<ContainerState> {
        self.inspected(&container.0).await.map(state_of)
    }

    async fn wait(&self, container: &ContainerId) -> Result<Exit> {
        let client = self.client()?;
        let mut ends = std::pin::pin!(client.wait_container(&container.0, None::<WaitContainerOptions>));
        match ends.next().await {
            // The client makes an error of every exit code but zero.
            Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => {}
            Some(Err(error)) => return Err(failure::of_container(error)),
            None => return Err(ExecutorError::Unavailable("Docker Engine ended the connection".to_owned())),
        }
        let found = self.inspected(&container.0).await?;
        let limited = found.host_config.as_ref().and_then(|config| config.memory).is_some_and(|bytes| bytes > 0);
        match state_of(found) {
            ContainerState::Exited(mut exit) => {
                if limited && exit.code == EXIT_SIGKILL && !exit.oom_killed {
                    exit.oom_killed = self.was_oom_killed(container).await?;
                }
                Ok(exit)
            }
            ContainerState::Created => Err(ExecutorError::Failed("the container was never started".to_owned())),
            ContainerState::Running { .. } => {
                Err(ExecutorError::Failed("the container was started again by somebody else".to_owned()))
            }
        }
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<()> {
        let grace_seconds = grace.as_millis().div_ceil(1000);
        let options = StopContainerOptions { t: Some(i32::try_from(grace_seconds).unwrap_or(i32::MAX)), signal: None };
        let client = self.client()?.with_timeout(grace.saturating_add(STOP_MARGIN));
        let mut stopped = std::pin::pin!(client.stop_container(&container.0, Some(options)));
        if grace.subsec_nanos() > 0 {
            // The engine counts whole seconds only, and a task that must not outlast its node's lease may have less left.
            if let Ok(stopped) = timeout(grace, &mut stopped).await {
                return stopped.map_err(failure::of_container);
            }
            let kill = KillContainerOptions { signal: "SIGKILL".to_owned() };
            match client.kill_container(&container.0, Some(kill)).await {
                Err(error) if !failure::is_conflict(&error) && !failure::is_not_found(&error) => {
                    return Err(failure::of_container(error));
                }
                // It has ended meanwhile.
                Ok(()) | Err(_) => {}
            }
        }
        stopped.await.map_err(failure::of_container)
    }

    async fn remove(&self, container: &ContainerId) -> Result<()> {
        let client = self.client()?;
        let deadline = Instant::now() + REMOVAL_MAX;
        loop {
            // Anonymous volumes are nobody's once the container is gone.
            let options = RemoveContainerOptions { v: true, force: true, link: false };
            match client.remove_container(&container.0, Some(options)).await {
                Ok(()) => return Ok(()),
                Err(error) if failure::is_not_found(&error) => return Ok(()),
                // Somebody else's removal is under way.
                Err(error) if failure::is_conflict(&error) && Instant::now() < deadline => sleep(REMOVAL_POLL).await,
                Err(error) => return Err(failure::of_engine(error)),
            }
        }
    }

    async fn list(&self) -> Result<Vec<Found>> {
        let Identity { cluster_id, node_id } = self.options.identity;
        let labels =
            vec![format!("{}={cluster_id}", create::LABEL_CLUSTER), format!("{}={node_id}", create::LABEL_NODE)];
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), labels)])),
            ..ListContainersOptions::default()
        };
        drop(self.creating.write().await);
        let summaries = self.client()?.list_containers(Some(options)).await.map_err(failure::of_engine)?;
        let mut containers = Vec::with_capacity(summaries.len());
        for summary in summaries {
            containers.extend(self.found(summary).await?);
        }
        Ok(containers)
    }

    async fn exec(&self, container: &ContainerId, argv: &[String], timeout: Duration) -> Result<ExecOutput> {
        output::exec(&self.client()?, container, argv, timeout).await
    }

    fn logs(&self, container: &ContainerId, options: LogOptions) -> BoxStream<'static, Result<LogRecord>> {
        match self.client() {
            Ok(client) => output::logs(&client, container, &options).boxed(),
            Err(error) => stream::once(std::future::ready(Err(error))).boxed(),
        }
    }
}

#[cfg(test)]
mod tests;
