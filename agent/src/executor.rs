//! What runs containers: one small trait, implemented by Docker Engine and by a simulation.
//!
//! Every call may be repeated: an executor that is asked for what is already so says that it is so. None of them
//! touches a container that does not carry this node's labels.

pub mod docker;
pub mod sim;

use std::{collections::BTreeMap, fmt, net::IpAddr, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use muster_proto::{
    assignment::Assignment,
    health::HealthCheck,
    id::{ClusterId, NodeId, TaskId},
    isolation::OnIsolation,
    node::EngineHealth,
    pin::{ImagePin, Unresolved},
    resources::Resources,
    version::Fence,
};

/// Whose containers these are; an executor labels what it makes with it and sees nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineDescription {
    pub name: &'static str,
    pub version: String,
    pub os: String,
    pub arch: String,
    pub resources: Resources,
    pub labels: BTreeMap<String, String>,
    pub health: EngineHealth,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub code: i32,
    pub oom_killed: bool,
    /// What the engine says of it, where it says anything.
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    Created,
    Running { address: Option<IpAddr> },
    Exited(Exit),
}

/// A container of this node, as found by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub container: ContainerId,
    pub task_id: TaskId,
    pub fence: Fence,
    pub state: ContainerState,
    /// Of a task that must not run where the managers cannot be reached: its stop grace period.
    pub isolation_grace: Option<Duration>,
}

/// The stop grace period of a task that must not run in isolation; None for any other.
pub(crate) fn isolation_grace(assignment: &Assignment) -> Option<Duration> {
    let spec = &assignment.template.spec;
    match spec.on_isolation {
        OnIsolation::Stop => Some(spec.container.stop_grace_period),
        OnIsolation::Keep => None,
    }
}

/// What the container's process finds in its environment: what the spec says, and which attempt at its slot this is. It
/// grows with every attempt, so that a store which remembers the highest can refuse writes of a predecessor.
pub(crate) fn environment(assignment: &Assignment) -> Vec<String> {
    let mut env = assignment.template.spec.container.env.clone();
    env.push(format!("MUSTER_SLOT_FENCE={}", assignment.fence));
    env
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub container: ContainerId,
    /// The image's own health check, for a service that leaves it to the image.
    pub image_health: Option<HealthCheck>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    pub code: i64,
    /// Standard output and error as they came, cut to [`muster_proto::task::Evidence::TEXT_BYTES_MAX`].
    pub text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub follow: bool,
    pub tail: Option<u32>,
    /// Milliseconds since the Unix epoch.
    pub since: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRecord {
    pub stderr: bool,
    pub text: Vec<u8>,
    /// RFC 3339, as the engine stamped it.
    pub timestamp: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// This task can never run here as it is asked for: no such image, a command that is not in the image.
    #[error("{0}")]
    Refused(String),
    /// The engine does not answer; nothing is known of the container. Try again.
    #[error("engine unavailable: {0}")]
    Unavailable(String),
    #[error("no such container")]
    Gone,
    /// The engine answered with an error that another try may not meet.
    #[error("{0}")]
    Failed(String),
}

impl ExecutorError {
    /// What is behind it, for one who says already that the engine is unavailable.
    #[must_use]
    pub fn into_reason(self) -> String {
        match self {
            ExecutorError::Unavailable(why) => why,
            ExecutorError::Refused(_) | ExecutorError::Gone | ExecutorError::Failed(_) => self.to_string(),
        }
    }
}

pub type Result<T> = std::result::Result<T, ExecutorError>;

#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync + 'static {
    /// Never fails: an engine that does not answer is described as unavailable.
    async fn describe(&self) -> EngineDescription;

    /// What the tag means now.
    async fn resolve(&self, image: &str) -> std::result::Result<ImagePin, Unresolved>;

    /// Gets the image, however long that takes, where it is not here yet. `progress` hears what happens, in a few words.
    async fn fetch(&self, assignment: &Assignment, progress: &(dyn Fn(String) + Send + Sync)) -> Result<()>;

    /// Gets the image where it was not fetched, and creates the container, or finds the one made before. `progress` hears what happens, in a
    /// few words.
    async fn prepare(&self, assignment: &Assignment, progress: &(dyn Fn(String) + Send + Sync)) -> Result<Prepared>;

    /// Returns once the container's process runs, with the address it is reached at from this host.
    async fn start(&self, container: &ContainerId) -> Result<Option<IpAddr>>;

    async fn inspect(&self, container: &ContainerId) -> Result<ContainerState>;

    /// Returns when the container has ended. [`ExecutorError::Unavailable`] when the engine went away meanwhile.
    async fn wait(&self, container: &ContainerId) -> Result<Exit>;

    /// The stop signal, then SIGKILL after `grace`. Returns when the container has ended.
    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<()>;

    /// Removes it, killing it first where it still runs.
    async fn remove(&self, container: &ContainerId) -> Result<()>;

    /// All containers of this node, running or not; also those whose preparation was broken off before this was asked.
    async fn list(&self) -> Result<Vec<Found>>;

    /// Runs a command in the container.
    async fn exec(&self, container: &ContainerId, argv: &[String], timeout: Duration) -> Result<ExecOutput>;

    fn logs(&self, container: &ContainerId, options: LogOptions) -> BoxStream<'static, Result<LogRecord>>;
}
