//! The flags that `service create` and `service update` have in common. Each sets one value of the spec; what is not
//! given leaves the spec as it is, so that both commands share `apply`.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use muster_proto::{
    container::ContainerSpec,
    endpoint::PortConfig,
    isolation::OnIsolation,
    parse,
    resources::{PIDS_MAX, ResourceRequirements},
    restart::{RestartCondition, RestartPolicy},
    service::{REPLICAS_MAX, ServiceSpec},
};

use super::{
    health::HealthFlags,
    rollout::{RollbackFlags, UpdateFlags},
    words,
};
use crate::{error::Error, flags::whole};

#[derive(clap::Args, Clone, Debug, Default, PartialEq)]
pub struct CommonFlags {
    #[command(flatten)]
    pub container: ContainerFlags,
    #[command(flatten)]
    pub resources: ResourceFlags,
    #[command(flatten)]
    pub health: HealthFlags,
    #[command(flatten)]
    pub restart: RestartFlags,
    #[command(flatten)]
    pub update: UpdateFlags,
    /// Slots that each update replaces first; once they work it waits for `muster service promote` before it replaces the
    /// others, or ends where there are none; 0 is none (default 0)
    #[arg(long, value_name = "N", value_parser = whole(0..=REPLICAS_MAX), help_heading = "Update")]
    pub canary: Option<u32>,
    #[command(flatten)]
    pub rollback: RollbackFlags,
    /// What becomes of a task whose node is cut off from the managers: keep leaves it running, beside its replacement;
    /// stop ends it when the node's lease runs out, so that there are never two of a slot at once, and the replacement
    /// comes later by the stop grace period and 3s (default keep)
    #[arg(long, value_name = "ANSWER", value_parser = answers(), help_heading = "Placement")]
    pub on_isolation: Option<OnIsolation>,
    /// Tasks of the service that one node may run; 0 is no limit
    #[arg(long, value_name = "N", value_parser = whole(0..=REPLICAS_MAX), help_heading = "Placement")]
    pub replicas_max_per_node: Option<u32>,
}

#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Container")]
pub struct ContainerFlags {
    /// User in the container, as name, uid or uid:gid
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "PATH")]
    pub workdir: Option<String>,
    /// Hostname of the container
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Replaces the image's ENTRYPOINT; split into words as a shell does
    #[arg(long, value_name = "COMMAND", value_parser = Words::parse)]
    pub entrypoint: Option<Words>,
    /// Mount the container's root filesystem read-only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub read_only: Option<bool>,
    /// Run an init as PID 1 that forwards signals and reaps processes
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub init: Option<bool>,
    /// Signal that asks the container to stop (default: the image's, else SIGTERM)
    #[arg(long, value_name = "SIGNAL", value_parser = SignalFlag::parse)]
    pub stop_signal: Option<SignalFlag>,
    /// Time from the stop signal to SIGKILL; connections drain within it too (default 10s)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub stop_grace_period: Option<Duration>,
}

/// A command line in one flag. Its own type, because clap takes a list for a repeated flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl Words {
    pub fn parse(text: &str) -> Result<Self, String> {
        words::split(text).map(Self)
    }
}

/// One `--publish`: a range is several ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published(pub Vec<PortConfig>);

impl Published {
    pub fn parse(text: &str) -> Result<Self, parse::ParseError> {
        parse::port(text).map(Self)
    }
}

/// A signal's name, or none for the image's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalFlag(pub Option<String>);

impl SignalFlag {
    fn parse(text: &str) -> Result<Self, parse::ParseError> {
        if text.is_empty() { Ok(Self(None)) } else { parse::signal(text).map(Some).map(Self) }
    }
}

#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Resources")]
pub struct ResourceFlags {
    /// Most cores a task may use, as 0.5; 0 is no limit
    #[arg(long, value_name = "CPUS", value_parser = parse::cpus)]
    pub limit_cpu: Option<u64>,
    /// Most memory a task may use, as 512m or 2g; 0 is the cluster's default, which `muster info` shows (Swarm: no limit)
    #[arg(long, value_name = "BYTES", value_parser = parse::memory)]
    pub limit_memory: Option<u64>,
    /// Most processes a task may have; 0 is the cluster's default, which `muster info` shows (Swarm: no limit)
    #[arg(long, value_name = "N", value_parser = whole(0..=PIDS_MAX))]
    pub limit_pids: Option<u64>,
    /// Cores set aside on the node for each task
    #[arg(long, value_name = "CPUS", value_parser = parse::cpus)]
    pub reserve_cpu: Option<u64>,
    /// Memory set aside on the node for each task
    #[arg(long, value_name = "BYTES", value_parser = parse::memory)]
    pub reserve_memory: Option<u64>,
}

#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(next_help_heading = "Restart")]
pub struct RestartFlags {
    /// When an ended task is replaced (default any)
    #[arg(long, value_name = "CONDITION", value_parser = conditions())]
    pub restart_condition: Option<RestartCondition>,
    /// Pause before a replacement starts; auto is 0.5s doubled with each end in a row up to 60s; an end without error
    /// counts as well, and from the second in a row on starts are 1s apart at least, whatever is asked for (default auto;
    /// Swarm: 5s)
    #[arg(long, value_name = "DURATION", value_parser = RestartDelay::parse)]
    pub restart_delay: Option<RestartDelay>,
    /// Replacements before a slot is given up; 0 is no limit (default 0)
    #[arg(long, value_name = "N", value_parser = whole(0..=u32::MAX))]
    pub restart_max_attempts: Option<u32>,
    /// Attempts older than this no longer count towards the limit; 0s is that all count (default 0s)
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub restart_window: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartDelay {
    Auto,
    Fixed(Duration),
}

impl RestartDelay {
    fn parse(text: &str) -> Result<Self, parse::ParseError> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => parse::duration(text).map(Self::Fixed).map_err(|error| {
                let accepted = format!("{}, or auto", error.accepted);
                parse::ParseError { accepted, ..error }
            }),
        }
    }
}

fn answers() -> impl TypedValueParser<Value = OnIsolation> {
    PossibleValuesParser::new(["keep", "stop"]).try_map(|word| parse::on_isolation(&word))
}

fn conditions() -> impl TypedValueParser<Value = RestartCondition> {
    PossibleValuesParser::new(["none", "on-failure", "any"]).try_map(|word| parse::restart_condition(&word))
}

/// An empty text takes the setting back.
fn set_text(target: &mut Option<String>, flag: Option<&String>) {
    if let Some(text) = flag {
        *target = Some(text.clone()).filter(|text| !text.is_empty());
    }
}

fn set<T: Clone>(target: &mut T, flag: Option<&T>) {
    if let Some(value) = flag {
        target.clone_from(value);
    }
}

impl CommonFlags {
    /// What to warn about comes back.
    pub fn apply(&self, spec: &mut ServiceSpec) -> Result<Vec<String>, Error> {
        self.container.apply(&mut spec.task.container);
        self.resources.apply(&mut spec.task.resources);
        self.health.apply(&mut spec.task.container.health)?;
        let warnings = self.restart.apply(&mut spec.task.restart)?;
        self.update.apply(&mut spec.update);
        set(&mut spec.update.canary, self.canary.as_ref());
        self.rollback.apply(&mut spec.rollback);
        set(&mut spec.task.on_isolation, self.on_isolation.as_ref());
        if let Some(max) = self.replicas_max_per_node {
            spec.task.placement.max_replicas_per_node = Some(max).filter(|&max| max > 0);
        }
        Ok(warnings)
    }
}

impl ContainerFlags {
    fn apply(&self, container: &mut ContainerSpec) {
        set_text(&mut container.user, self.user.as_ref());
        set_text(&mut container.workdir, self.workdir.as_ref());
        set_text(&mut container.hostname, self.hostname.as_ref());
        set(&mut container.entrypoint, self.entrypoint.as_ref().map(|words| &words.0));
        set(&mut container.read_only, self.read_only.as_ref());
        set(&mut container.init, self.init.as_ref());
        set(&mut container.stop_signal, self.stop_signal.as_ref().map(|signal| &signal.0));
        set(&mut container.stop_grace_period, self.stop_grace_period.as_ref());
    }
}

impl ResourceFlags {
    fn apply(&self, resources: &mut ResourceRequirements) {
        set(&mut resources.limits.nano_cpus, self.limit_cpu.as_ref());
        set(&mut resources.limits.memory_bytes, self.limit_memory.as_ref());
        set(&mut resources.limits.pids, self.limit_pids.as_ref());
        set(&mut resources.reservations.nano_cpus, self.reserve_cpu.as_ref());
        set(&mut resources.reservations.memory_bytes, self.reserve_memory.as_ref());
    }
}

impl RestartFlags {
    fn apply(&self, restart: &mut RestartPolicy) -> Result<Vec<String>, Error> {
        set(&mut restart.condition, self.restart_condition.as_ref());
        match self.restart_delay {
            Some(RestartDelay::Auto) => restart.delay = None,
            Some(RestartDelay::Fixed(delay)) => restart.delay = Some(delay),
            None => {}
        }
        if let Some(attempts) = self.restart_max_attempts {
            restart.max_attempts = Some(attempts).filter(|&attempts| attempts > 0);
        }
        set(&mut restart.window, self.restart_window.as_ref());
        self.check(restart)
    }

    /// The policy that comes of it, if anything of it is named here. What takes a setting back contradicts nothing, and
    /// what was set before the restarts were turned off waits for them to be turned on again.
    fn check(&self, policy: &RestartPolicy) -> Result<Vec<String>, Error> {
        let asked = [
            ("--restart-delay", matches!(self.restart_delay, Some(RestartDelay::Fixed(_)))),
            ("--restart-max-attempts", self.restart_max_attempts.is_some_and(|attempts| attempts > 0)),
            ("--restart-window", self.restart_window.is_some_and(|window| !window.is_zero())),
        ];
        if *self == Self::default() {
            return Ok(Vec::new());
        }
        match (policy.condition, asked.into_iter().find(|(_, is_asked)| *is_asked)) {
            (RestartCondition::None, Some((flag, _))) => Err(Error::Usage(format!(
                "--restart-condition none replaces no task that ended, so that {flag} has no meaning with it; leave one of \
                 the two out, or give another condition"
            ))),
            (RestartCondition::None, None) => Ok(Vec::new()),
            (RestartCondition::OnFailure | RestartCondition::Any, _) => Ok(idle_window(policy).into_iter().collect()),
        }
    }
}

/// Docker takes it, so that it is no mistake.
fn idle_window(policy: &RestartPolicy) -> Option<String> {
    (!policy.window.is_zero() && policy.max_attempts.is_none()).then(|| {
        "--restart-window says which attempts count towards a limit, and there is none; give --restart-max-attempts too, \
         or take the window back with --restart-window 0s"
            .to_owned()
    })
}
