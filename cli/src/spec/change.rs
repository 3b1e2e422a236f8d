//! `service update`: from a spec and flags to the next spec.

use muster_proto::{
    container::{ContainerSpec, Ulimit},
    endpoint::{EndpointSpec, PortConfig},
    mount::Mount,
    parse::{self, EnvEntry},
    placement::{Constraint, Placement, SpreadOver},
    service::{Mode, ServiceSpec},
};

use super::{
    build::{capabilities, check},
    env,
    flags::{CommonFlags, Published, Words},
    keyed,
    order::{self, Kind},
};
use crate::{error::Error, flags::whole, surroundings::Surroundings};

#[derive(clap::Args, Clone, Debug, Default, PartialEq)]
pub struct ChangeFlags {
    /// Image of the service; its tag is resolved anew, even when the name stays the same
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Arguments that replace the image's CMD; split into words as a shell does
    #[arg(long, value_name = "ARGS", value_parser = Words::parse, allow_hyphen_values = true, help_heading = "Container")]
    pub args: Option<Words>,
    /// Number of tasks of a replicated service
    #[arg(long, value_name = "N", value_parser = parse::replicas)]
    pub replicas: Option<u32>,
    /// Replace every task, even where nothing changed
    #[arg(long)]
    pub force: bool,
    /// Publish a port too
    #[arg(long, value_name = "PORT", value_parser = Published::parse)]
    pub publish_add: Vec<Published>,
    /// Publish a port of the container no more; removed before others are added
    #[arg(long, value_name = "TARGET-PORT", value_parser = whole(1..=u16::MAX))]
    pub publish_rm: Vec<u16>,
    /// Set a variable: KEY=value, or KEY to pass your own value on
    #[arg(long, value_name = "VARIABLE", value_parser = parse::env, help_heading = "Container")]
    pub env_add: Vec<EnvEntry>,
    /// Remove a variable
    #[arg(long, value_name = "KEY", help_heading = "Container")]
    pub env_rm: Vec<String>,
    /// Set a label of the service
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::key_value)]
    pub label_add: Vec<(String, String)>,
    /// Remove a label of the service
    #[arg(long, value_name = "KEY")]
    pub label_rm: Vec<String>,
    /// Set a label of the service's containers
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::key_value, help_heading = "Container")]
    pub container_label_add: Vec<(String, String)>,
    /// Remove a label of the service's containers
    #[arg(long, value_name = "KEY", help_heading = "Container")]
    pub container_label_rm: Vec<String>,
    /// Add a mount, or replace the one at its target
    #[arg(long, value_name = "MOUNT", value_parser = parse::mount, help_heading = "Container")]
    pub mount_add: Vec<Mount>,
    /// Remove the mount at this path in the container; removed before others are added
    #[arg(long, value_name = "TARGET", help_heading = "Container")]
    pub mount_rm: Vec<String>,
    /// Add a capability; one that is dropped is no longer dropped; RESET clears the list
    #[arg(long, value_name = "CAPABILITY", help_heading = "Container")]
    pub cap_add: Vec<String>,
    /// Drop a capability; one that was added is no longer added; RESET clears the list
    #[arg(long, value_name = "CAPABILITY", help_heading = "Container")]
    pub cap_drop: Vec<String>,
    /// Set a ulimit
    #[arg(long, value_name = "ULIMIT", value_parser = parse::ulimit, help_heading = "Container")]
    pub ulimit_add: Vec<Ulimit>,
    /// Remove a ulimit
    #[arg(long, value_name = "NAME", help_heading = "Container")]
    pub ulimit_rm: Vec<String>,
    /// Add a constraint
    #[arg(long, value_name = "CONSTRAINT", value_parser = parse::constraint, help_heading = "Placement")]
    pub constraint_add: Vec<Constraint>,
    /// Remove a constraint
    #[arg(long, value_name = "CONSTRAINT", value_parser = parse::constraint, help_heading = "Placement")]
    pub constraint_rm: Vec<Constraint>,
    /// Add a placement preference, behind those there are
    #[arg(long, value_name = "PREFERENCE", value_parser = parse::preference, help_heading = "Placement")]
    pub placement_pref_add: Vec<SpreadOver>,
    /// Remove a placement preference
    #[arg(long, value_name = "PREFERENCE", value_parser = parse::preference, help_heading = "Placement")]
    pub placement_pref_rm: Vec<SpreadOver>,
    #[command(flatten)]
    pub common: CommonFlags,
}

impl ChangeFlags {
    /// A number of replicas and nothing else, as `service scale` has it.
    #[must_use]
    pub fn only_scale(&self) -> bool {
        self.replicas.is_some() && Self { replicas: None, ..self.clone() } == Self::default()
    }
}

/// Changes the spec as the flags say, and tells what to warn about. Called again with a fresh spec when another
/// writer was faster.
pub fn apply(
    flags: &ChangeFlags,
    spec: &mut ServiceSpec,
    surroundings: &dyn Surroundings,
) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    if let Some(replicas) = flags.replicas {
        spec.mode = scaled(spec, replicas)?;
    }
    if flags.force {
        spec.task.force_update += 1;
    }
    keyed::labels("label", &mut spec.labels, &flags.label_add, &flags.label_rm, &mut warnings)?;
    container(flags, &mut spec.task.container, surroundings, &mut warnings)?;
    endpoint(flags, &mut spec.endpoint, &mut warnings);
    placement(flags, &mut spec.task.placement, &mut warnings)?;
    warnings.extend(flags.common.apply(spec)?);
    check(spec)?;
    let kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| names_order(flags, *kind)).collect();
    warnings.extend(order::warnings(spec, &kinds));
    Ok(warnings)
}

/// The order, or what makes one matter: who changes something else knows already.
fn names_order(flags: &ChangeFlags, kind: Kind) -> bool {
    let CommonFlags { update, rollback, .. } = &flags.common;
    let order = match kind {
        Kind::Update => update.order,
        Kind::Rollback => rollback.order,
    };
    order.is_some() || !flags.publish_add.is_empty() || !flags.mount_add.is_empty()
}

/// The mode with another number of replicas.
pub fn scaled(spec: &ServiceSpec, replicas: u32) -> Result<Mode, Error> {
    match spec.mode {
        Mode::Replicated { .. } => Ok(Mode::Replicated { replicas }),
        Mode::Global => Err(Error::Usage(format!(
            "service {} is global: it has one task on each node and no number of replicas; leave it out",
            spec.name
        ))),
    }
}

fn container(
    flags: &ChangeFlags,
    container: &mut ContainerSpec,
    surroundings: &dyn Surroundings,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    if let Some(image) = &flags.image {
        parse::image(image).map_err(|error| Error::Usage(error.to_string()))?;
        container.image.clone_from(image);
        container.pin = None;
    }
    if let Some(args) = &flags.args {
        container.args.clone_from(&args.0);
    }
    variables(flags, container, surroundings, warnings)?;
    let (add, remove) = (&flags.container_label_add, &flags.container_label_rm);
    keyed::labels("container-label", &mut container.labels, add, remove, warnings)?;
    for target in &flags.mount_rm {
        warnings.extend(keyed::remove(&mut container.mounts, "mount-rm", target, |mount| mount.target == *target));
    }
    for mount in &flags.mount_add {
        keyed::put(&mut container.mounts, mount.clone(), |a, b| a.target == b.target);
    }
    let added: Vec<&String> = flags.ulimit_add.iter().map(|ulimit| &ulimit.name).collect();
    keyed::refuse_both("ulimit", &added, &flags.ulimit_rm.iter().collect::<Vec<_>>())?;
    for name in &flags.ulimit_rm {
        warnings.extend(keyed::remove(&mut container.ulimits, "ulimit-rm", name, |ulimit| ulimit.name == *name));
    }
    for ulimit in &flags.ulimit_add {
        keyed::put(&mut container.ulimits, ulimit.clone(), |a, b| a.name == b.name);
    }
    change_capabilities(flags, container)
}

fn variables(
    flags: &ChangeFlags,
    container: &mut ContainerSpec,
    surroundings: &dyn Surroundings,
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    let (added, missing) = env::collect(&[], &flags.env_add, surroundings)?;
    let keys: Vec<&str> = added.iter().map(|variable| env::key(variable)).collect();
    keyed::refuse_both("env", &keys, &flags.env_rm.iter().map(String::as_str).collect::<Vec<_>>())?;
    for key in &flags.env_rm {
        warnings.extend(keyed::remove(&mut container.env, "env-rm", key, |variable| env::key(variable) == key));
    }
    for variable in added {
        env::set(&mut container.env, variable);
    }
    warnings.extend(missing);
    Ok(())
}

/// Removals go first, so that one command can move a port of the container to another published port.
fn endpoint(flags: &ChangeFlags, endpoint: &mut EndpointSpec, warnings: &mut Vec<String>) {
    for target in &flags.publish_rm {
        let shown = target.to_string();
        warnings.extend(keyed::remove(&mut endpoint.ports, "publish-rm", &shown, |port| port.target == *target));
    }
    let same = |a: &PortConfig, b: &PortConfig| a.target == b.target && a.published == b.published;
    for port in flags.publish_add.iter().flat_map(|ports| &ports.0) {
        keyed::put(&mut endpoint.ports, port.clone(), same);
    }
}

fn placement(flags: &ChangeFlags, placement: &mut Placement, warnings: &mut Vec<String>) -> Result<(), Error> {
    keyed::refuse_both("constraint", &flags.constraint_add, &flags.constraint_rm)?;
    keyed::refuse_both("placement-pref", &flags.placement_pref_add, &flags.placement_pref_rm)?;
    for constraint in &flags.constraint_rm {
        let shown = constraint.to_string();
        warnings
            .extend(keyed::remove(&mut placement.constraints, "constraint-rm", &shown, |known| known == constraint));
    }
    for preference in &flags.placement_pref_rm {
        let shown = preference.to_string();
        let list = &mut placement.preferences;
        warnings.extend(keyed::remove(list, "placement-pref-rm", &shown, |known| known == preference));
    }
    for constraint in &flags.constraint_add {
        keyed::put(&mut placement.constraints, constraint.clone(), |a, b| a == b);
    }
    for preference in &flags.placement_pref_add {
        keyed::put(&mut placement.preferences, preference.clone(), |a, b| a == b);
    }
    Ok(())
}

const RESET: &str = "RESET";

/// Docker's rule: what undoes an earlier wish takes it back, and is a wish of its own only where there was none.
fn change_capabilities(flags: &ChangeFlags, container: &mut ContainerSpec) -> Result<(), Error> {
    let split = |names: &[String]| -> (bool, Vec<String>) {
        let (reset, names): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| name.eq_ignore_ascii_case(RESET));
        (!reset.is_empty(), capabilities(&names))
    };
    let (reset_add, add) = split(&flags.cap_add);
    let (reset_drop, drop) = split(&flags.cap_drop);
    if let Some(both) = add.iter().find(|name| drop.contains(name)) {
        return Err(Error::Usage(format!("--cap-add and --cap-drop both name {both}; keep the one you mean")));
    }
    if reset_add {
        container.cap_add.clear();
    }
    if reset_drop {
        container.cap_drop.clear();
    }
    wish(add, &mut container.cap_add, &mut container.cap_drop);
    wish(drop, &mut container.cap_drop, &mut container.cap_add);
    Ok(())
}

fn wish(names: Vec<String>, wanted: &mut Vec<String>, opposite: &mut Vec<String>) {
    for name in names {
        if let Some(at) = opposite.iter().position(|known| *known == name) {
            opposite.remove(at);
        } else if !wanted.contains(&name) {
            wanted.push(name);
        }
    }
}
