//! `service create`: from nothing to a spec.

use std::path::PathBuf;

use clap::ValueEnum;
use muster_proto::{
    container::{ContainerSpec, Ulimit},
    endpoint::EndpointSpec,
    isolation::OnIsolation,
    mount::Mount,
    parse::{self, EnvEntry},
    placement::{Constraint, Placement, SpreadOver},
    resources::ResourceRequirements,
    restart::RestartPolicy,
    rollout::UpdateConfig,
    service::{Mode, ServiceSpec},
    task::TaskSpec,
    validate,
};

use super::{
    env,
    flags::{CommonFlags, Published},
    order::{self, Kind},
    rollout::rollback_default,
};
use crate::{error::Error, surroundings::Surroundings};

/// A service of which nothing else is said has one task.
const REPLICAS_DEFAULT: u32 = 1;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ModeFlag {
    /// as many tasks as --replicas says, on any nodes
    #[default]
    Replicated,
    /// one task on every node that fits
    Global,
}

#[derive(clap::Args, Clone, Debug)]
pub struct CreateFlags {
    /// Name of the service (default: made up)
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How the number of tasks is decided
    #[arg(long, value_enum, default_value_t, value_name = "MODE")]
    pub mode: ModeFlag,
    /// Number of tasks of a replicated service (default 1)
    #[arg(long, value_name = "N", value_parser = parse::replicas)]
    pub replicas: Option<u32>,
    /// Publish a port: 8000:80, 80 (any free port), or published=8000,target=80,mode=host
    #[arg(short, long, value_name = "PORT", value_parser = Published::parse)]
    pub publish: Vec<Published>,
    /// Set a variable: KEY=value, or KEY to pass your own value on
    #[arg(short, long, value_name = "VARIABLE", value_parser = parse::env, help_heading = "Container")]
    pub env: Vec<EnvEntry>,
    /// Read variables from a file, one on a line; --env overrides them
    #[arg(long, value_name = "PATH", help_heading = "Container")]
    pub env_file: Vec<PathBuf>,
    /// Label of the service
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse::key_value)]
    pub label: Vec<(String, String)>,
    /// Label of the service's containers
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::key_value, help_heading = "Container")]
    pub container_label: Vec<(String, String)>,
    /// Mount type=volume|bind|tmpfs,source=…,target=…[,readonly]
    #[arg(long, value_name = "MOUNT", value_parser = parse::mount, help_heading = "Container")]
    pub mount: Vec<Mount>,
    /// Add a Linux capability to the small set that containers start with
    #[arg(long, value_name = "CAPABILITY", help_heading = "Container")]
    pub cap_add: Vec<String>,
    /// Take a Linux capability away; ALL is all of them
    #[arg(long, value_name = "CAPABILITY", help_heading = "Container")]
    pub cap_drop: Vec<String>,
    /// Set a ulimit, as nofile=1024:2048
    #[arg(long, value_name = "ULIMIT", value_parser = parse::ulimit, help_heading = "Container")]
    pub ulimit: Vec<Ulimit>,
    /// Run only on nodes of which this holds, as node.labels.zone==a or node.role!=manager
    #[arg(long, value_name = "CONSTRAINT", value_parser = parse::constraint, help_heading = "Placement")]
    pub constraint: Vec<Constraint>,
    /// Spread tasks evenly, as spread=node.labels.zone
    #[arg(long, value_name = "PREFERENCE", value_parser = parse::preference, help_heading = "Placement")]
    pub placement_pref: Vec<SpreadOver>,
    #[command(flatten)]
    pub common: CommonFlags,
    /// The image, then the arguments that replace its CMD
    #[arg(
        required = true, num_args = 1.., trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]",
        help_heading = "Arguments",
    )]
    pub image_and_args: Vec<String>,
}

/// The spec, and what to warn about. `made_up` is the name of a service that was given none.
pub fn spec(
    flags: &CreateFlags,
    made_up: &str,
    surroundings: &dyn Surroundings,
) -> Result<(ServiceSpec, Vec<String>), Error> {
    let (image, args) = flags.image_and_args.split_first().expect("clap asks for an image");
    parse::image(image).map_err(|error| Error::Usage(error.to_string()))?;
    let (variables, mut warnings) = env::collect(&flags.env_file, &flags.env, surroundings)?;
    let container = ContainerSpec {
        args: args.to_vec(),
        env: variables,
        labels: flags.container_label.iter().cloned().collect(),
        mounts: flags.mount.clone(),
        cap_add: capabilities(&flags.cap_add),
        cap_drop: capabilities(&flags.cap_drop),
        ulimits: flags.ulimit.clone(),
        ..ContainerSpec::new(image)
    };
    let placement = Placement {
        constraints: flags.constraint.clone(),
        preferences: flags.placement_pref.clone(),
        max_replicas_per_node: None,
    };
    let mut spec = ServiceSpec {
        name: flags.name.clone().unwrap_or_else(|| made_up.to_owned()),
        labels: flags.label.iter().cloned().collect(),
        task: TaskSpec {
            container,
            resources: ResourceRequirements::default(),
            restart: RestartPolicy::default(),
            placement,
            force_update: 0,
            on_isolation: OnIsolation::default(),
        },
        mode: mode(flags)?,
        update: UpdateConfig::default(),
        rollback: rollback_default(),
        endpoint: EndpointSpec { ports: flags.publish.iter().flat_map(|ports| ports.0.clone()).collect() },
    };
    warnings.extend(flags.common.apply(&mut spec)?);
    check(&spec)?;
    warnings.extend(order::warnings(&spec, Kind::ALL));
    Ok((spec, warnings))
}

fn mode(flags: &CreateFlags) -> Result<Mode, Error> {
    match (flags.mode, flags.replicas) {
        (ModeFlag::Replicated, replicas) => Ok(Mode::Replicated { replicas: replicas.unwrap_or(REPLICAS_DEFAULT) }),
        (ModeFlag::Global, None) => Ok(Mode::Global),
        (ModeFlag::Global, Some(_)) => {
            Err(Error::Usage("--replicas has no meaning with --mode global; leave one of the two out".to_owned()))
        }
    }
}

/// The manager checks again; here it costs no round trip.
pub(super) fn check(spec: &ServiceSpec) -> Result<(), Error> {
    validate::service_spec(spec).map_err(|invalid| Error::Usage(invalid.to_string()))
}

/// In docker's form, upper case with `CAP_` in front or `ALL`, and each once. Whether there is such a capability is for
/// [`check`].
pub(super) fn capabilities(names: &[String]) -> Vec<String> {
    let mut normal: Vec<String> = Vec::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let full = match upper.strip_prefix("CAP_").unwrap_or(&upper) {
            "ALL" => "ALL".to_owned(),
            bare => format!("CAP_{bare}"),
        };
        if !normal.contains(&full) {
            normal.push(full);
        }
    }
    normal
}
