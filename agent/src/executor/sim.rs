//! Containers that exist in memory only, for tests and scale; never a default.
//!
//! What a container does is scripted by entries in its environment:
//!
//! | entry | meaning |
//! |---|---|
//! | `MUSTER_SIM_FETCH_MS=N` | fetching the image takes N ms |
//! | `MUSTER_SIM_PREPARE_MS=N` | preparing takes N ms |
//! | `MUSTER_SIM_PREPARE_ERROR=TEXT` | preparing is refused with this text |
//! | `MUSTER_SIM_START_MS=N` | starting takes N ms |
//! | `MUSTER_SIM_START_ERROR=TEXT` | starting is refused with this text |
//! | `MUSTER_SIM_EXIT=CODE@MS` | it ends by itself, MS after its start; `oom@MS`: killed for its memory |
//! | `MUSTER_SIM_HEALTH=pass@MS` | commands run in it fail until MS after its start; `fail`: always; `fail@MS`: from then on |
//! | `MUSTER_SIM_STOP_MS=N` | it ends N ms after the stop signal, with 0; the grace period may be over before (137) |
//! | `MUSTER_SIM_LOG=LINE` | it writes this line when it starts; may be given several times |
//! | `MUSTER_SIM_ADDRESS=IP` | where it is reached; without it, nowhere |
//!
//! An image whose name begins with `missing` is not found. An entry that cannot be read refuses the container, so that
//! a misspelt script does not pass as a quiet one. Time is tokio's, so a test may pause it. [`Sim::set_engine`] takes the
//! engine away and back; containers keep running meanwhile.

mod container;
mod script;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream, stream::BoxStream};
use muster_proto::{
    assignment::Assignment,
    id::TaskId,
    node::EngineHealth,
    pin::{ImagePin, Unresolved},
    resources::{NANO_CPUS_PER_CORE, Resources},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    ContainerId, ContainerState, EngineDescription, ExecOutput, Executor, ExecutorError, Exit, Found, Identity,
    LogOptions, LogRecord, Prepared, Result,
};
use container::Container;
use script::Script;

/// What a simulated host has to give: large enough that tests of other things never meet it.
const CORES: u64 = 64;
const MEMORY_BYTES: u64 = 256 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Up,
    Away,
}

#[derive(Debug)]
pub struct Sim {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    identity: Identity,
    engine: watch::Sender<Engine>,
    containers: Mutex<BTreeMap<ContainerId, Container>>,
    /// Counts changes of any container, for those who wait for an end.
    changed: watch::Sender<u64>,
    starts: Mutex<Vec<TaskId>>,
}

impl Inner {
    fn containers(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Container>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn up(&self) -> Result<()> {
        match *self.engine.borrow() {
            Engine::Up => Ok(()),
            Engine::Away => Err(ExecutorError::Unavailable("the simulated engine is away".to_owned())),
        }
    }

    fn with<T>(&self, id: &ContainerId, work: impl FnOnce(&mut Container) -> T) -> Result<T> {
        self.up()?;
        let result = self.containers().get_mut(id).map(work).ok_or(ExecutorError::Gone);
        self.changed.send_modify(|count| *count += 1);
        result
    }

    fn read<T>(&self, id: &ContainerId, work: impl FnOnce(&Container) -> T) -> Result<T> {
        self.up()?;
        self.containers().get(id).map(work).ok_or(ExecutorError::Gone)
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        let (mut changed, mut engine) = (self.changed.subscribe(), self.engine.subscribe());
        loop {
            let ends_at = match self.read(id, |c| (c.state(Instant::now()), c.ends_at()))? {
                (ContainerState::Exited(exit), _) => return Ok(exit),
                (ContainerState::Created | ContainerState::Running { .. }, ends_at) => ends_at,
            };
            let end = async {
                match ends_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = end => {}
                _ = changed.changed() => {}
                _ = engine.changed() => {}
            }
        }
    }
}

impl Sim {
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            inner: Arc::new(Inner {
                identity,
                engine: watch::Sender::new(Engine::Up),
                containers: Mutex::default(),
                changed: watch::Sender::new(0),
                starts: Mutex::default(),
            }),
        }
    }

    /// While away every call fails as unavailable, also those that wait.
    pub fn set_engine(&self, engine: Engine) {
        self.inner.engine.send_replace(engine);
    }

    /// The tasks whose containers were started, in that order, each as often as it was.
    #[must_use]
    pub fn starts(&self) -> Vec<TaskId> {
        self.inner.starts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[async_trait]
impl Executor for Sim {
    async fn describe(&self) -> EngineDescription {
        EngineDescription {
            name: "sim",
            version: env!("CARGO_PKG_VERSION").to_owned(),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            resources: Resources { nano_cpus: CORES * NANO_CPUS_PER_CORE, memory_bytes: MEMORY_BYTES },
            labels: BTreeMap::new(),
            health: match self.inner.up() {
                Ok(()) => EngineHealth::Ok,
                Err(error) => EngineHealth::Unavailable(error.into_reason()),
            },
        }
    }

    async fn resolve(&self, image: &str) -> std::result::Result<ImagePin, Unresolved> {
        self.inner.up().map_err(|error| Unresolved::Unknown(error.to_string()))?;
        found(image).map_err(|error| Unresolved::Missing(error.to_string()))?;
        Ok(ImagePin::LocalId(format!("sha256:{:064x}", crc32fast::hash(image.as_bytes()))))
    }

    async fn fetch(&self, assignment: &Assignment, progress: &(dyn Fn(String) + Send + Sync)) -> Result<()> {
        self.inner.up()?;
        let script = Script::parse(&assignment.template.spec.container.env).map_err(ExecutorError::Refused)?;
        if script.fetch_ms > 0 {
            progress("fetching a simulated image".to_owned());
            sleep(millis(script.fetch_ms)).await;
        }
        self.inner.up()
    }

    async fn prepare(&self, assignment: &Assignment, progress: &(dyn Fn(String) + Send + Sync)) -> Result<Prepared> {
        self.inner.up()?;
        let spec = &assignment.template.spec.container;
        found(&spec.image)?;
        let script = Script::parse(&spec.env).map_err(ExecutorError::Refused)?;
        progress("preparing a simulated container".to_owned());
        // The container is there before the answer, as an engine's is: whoever breaks off midway leaves one behind.
        let rest = millis(script.prepare_ms) / 2;
        sleep(rest).await;
        if let Some(why) = &script.prepare_error {
            return Err(ExecutorError::Refused(why.clone()));
        }
        self.inner.up()?;
        let container = ContainerId(format!("sim-{}", assignment.task_id));
        self.inner.containers().entry(container.clone()).or_insert_with(|| Container::new(assignment, script));
        sleep(rest).await;
        self.inner.up()?;
        Ok(Prepared { container, image_health: None })
    }

    async fn start(&self, id: &ContainerId) -> Result<Option<IpAddr>> {
        let script = self.inner.read(id, |container| container.script.clone())?;
        // As with a preparation: it runs before the answer is out, and the answer may be lost.
        let rest = millis(script.start_ms) / 2;
        sleep(rest).await;
        if let Some(why) = script.start_error {
            return Err(ExecutorError::Refused(why));
        }
        let started = self.inner.with(id, |container| container.start(Instant::now()).then_some(container.task_id))?;
        if let Some(task) = started {
            self.inner.starts.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        }
        sleep(rest).await;
        self.inner.up()?;
        Ok(script.address)
    }

    async fn inspect(&self, id: &ContainerId) -> Result<ContainerState> {
        self.inner.read(id, |container| container.state(Instant::now()))
    }

    async fn wait(&self, id: &ContainerId) -> Result<Exit> {
        self.inner.wait(id).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        self.inner.with(id, |container| container.stop(Instant::now(), grace))?;
        self.inner.wait(id).await.map(drop)
    }

    async fn remove(&self, id: &ContainerId) -> Result<()> {
        self.inner.up()?;
        self.inner.containers().remove(id);
        self.inner.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Found>> {
        self.inner.up()?;
        let now = Instant::now();
        let found = |(id, container): (&ContainerId, &Container)| Found {
            container: id.clone(),
            task_id: container.task_id,
            fence: container.fence,
            state: container.state(now),
            isolation_grace: container.isolation_grace,
        };
        Ok(self.inner.containers().iter().map(found).collect())
    }

    async fn exec(&self, id: &ContainerId, argv: &[String], _timeout: Duration) -> Result<ExecOutput> {
        let healthy = self.inner.read(id, |container| container.is_healthy(Instant::now()))?;
        let word = if healthy { "passes" } else { "fails" };
        Ok(ExecOutput { code: i64::from(!healthy), text: format!("{} {word} as scripted", argv.join(" ")) })
    }

    fn logs(&self, id: &ContainerId, options: LogOptions) -> BoxStream<'static, Result<LogRecord>> {
        let (inner, id) = (self.inner.clone(), id.clone());
        let node = self.inner.identity.node_id;
        let record = move |text: String| {
            Ok(LogRecord { stderr: false, text: format!("{text}\n").into_bytes(), timestamp: String::new() })
        };
        let lines = match inner.read(&id, |container| container.log(Instant::now())) {
            Ok(lines) => lines,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let tail = options.tail.map_or(lines.len(), |tail| usize::try_from(tail).unwrap_or(usize::MAX));
        let written = stream::iter(lines.clone().into_iter().skip(lines.len().saturating_sub(tail)).map(record));
        if !options.follow {
            return written.boxed();
        }
        let rest = stream::once(async move {
            let ended = inner.wait(&id).await;
            tracing::trace!(%node, container = %id, "a followed simulated log ends");
            let lines_now = ended.and_then(|_exit| inner.read(&id, |container| container.log(Instant::now())));
            match lines_now {
                Ok(all) => all.into_iter().skip(lines.len()).map(record).collect(),
                Err(error) => vec![Err(error)],
            }
        });
        written.chain(rest.flat_map(stream::iter)).boxed()
    }
}

fn found(image: &str) -> Result<()> {
    if image.starts_with("missing") {
        return Err(ExecutorError::Refused(format!("image {image} is not found")));
    }
    Ok(())
}
