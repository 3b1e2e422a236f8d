//! `muster node update`.

use std::time::Duration;

use muster_proto::{
    node::{Availability, NodeChange, Role},
    parse, validate,
};

use super::{change, drain};
use crate::{connect::Daemon, context::Context, error::Error, object::Node, spec::keyed};

/// Change a node's availability, labels and role
///
/// What is not named stays as it is. Availability: active takes tasks; pause keeps those it has and gets no new ones;
/// drain gets no new ones, and those it has move to other nodes. A task that cannot run twice at once, because of a host
/// port or a writable volume, is stopped first; any other runs on until its replacement does, and `muster service ps`
/// says what that waits for. As many tasks of a service move at once as its update parallelism says.
///
/// What no other node takes is said at once, and stays until one does.
///
/// --wait shows how a drain comes along and returns once no task is left on the node; it fails where none of those that
/// are left has anywhere to go, and says why. The drain itself goes on in any case.
///
/// Labels are what --constraint node.labels.KEY==VALUE of a service looks at when it places a task. A change of them
/// leaves the tasks of replicated services where they are; a global service leaves a node that no longer fits.
///
/// --role does what `muster node promote` and `muster node demote` do, and does not wait. This host's own node is drained
/// first, with --wait, and demoted then.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster node update --label-add zone=a host2
  muster node update --label-rm zone host2
  muster node update --availability drain --wait host2
  muster node update --availability drain --wait --timeout 10m host2
  muster node update --availability active self")]
pub struct Args {
    /// active, pause or drain
    #[arg(long, value_name = "AVAILABILITY", value_parser = parse::availability)]
    pub availability: Option<Availability>,
    /// Wait until no task is left on a node that is drained
    #[arg(short, long)]
    pub wait: bool,
    /// Stop waiting after so long; without it there is no limit
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub timeout: Option<Duration>,
    /// worker or manager
    #[arg(long, value_name = "ROLE", value_parser = parse::role)]
    pub role: Option<Role>,
    /// Set a label of the node
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse::key_value)]
    pub label_add: Vec<(String, String)>,
    /// Remove a label of the node
    #[arg(long, value_name = "KEY")]
    pub label_rm: Vec<String>,
    /// Hostname or id of the node; self is the one whose daemon answers
    #[arg(value_name = "NODE")]
    pub node: String,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let is_named = args.availability.is_some() || args.role.is_some();
    if !is_named && args.label_add.is_empty() && args.label_rm.is_empty() {
        return Err(Error::Usage(
            "nothing to change is named; give --availability, --role, --label-add or --label-rm".to_owned(),
        ));
    }
    if args.wait && args.availability != Some(Availability::Drain) {
        return Err(Error::Usage(
            "only a drain is waited for; leave --wait out, or give --availability drain".to_owned(),
        ));
    }
    if args.timeout.is_some() && !args.wait {
        return Err(Error::Usage("--timeout is for who waits; give --wait too, or leave it out".to_owned()));
    }
    if args.timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(Error::Usage("a timeout of 0 waits for nothing; leave --wait out instead".to_owned()));
    }
    let daemon = context.connect().await?;
    if args.wait && args.role == Some(Role::Worker) && is_own(&daemon, &args.node).await? {
        return Err(Error::Usage(format!(
            "a node that is no manager any more cannot be asked how its drain comes along; leave --role out, then run \
             `muster node demote {}`",
            args.node
        )));
    }
    let mut own_warnings = Vec::new();
    let mut id = String::new();
    let warnings = change::make(&daemon, &args.node, |before| {
        id.clone_from(&before.id);
        let (change, warnings) = changed(&args, before)?;
        own_warnings = warnings;
        Ok(change)
    })
    .await?;
    context.out.warn(&own_warnings);
    context.out.warn(&warnings);
    context.out.line(&args.node)?;
    if !args.wait {
        return Ok(());
    }
    context.out.flush()?;
    let wait = drain::Wait { node: &args.node, id: &id, timeout: args.timeout };
    drain::until_empty(&wait, &daemon, context.out).await
}

async fn is_own(daemon: &Daemon, node: &str) -> Result<bool, Error> {
    Ok(daemon.own_node_id().await? == Some(daemon.node(node).await?.id))
}

/// What is asked of the node as it is, and what to warn about.
fn changed(args: &Args, node: &Node) -> Result<(NodeChange, Vec<String>), Error> {
    let availability = args.availability.unwrap_or(node.availability);
    let mut change = NodeChange { role: args.role, availability, labels: node.labels.clone() };
    let mut warnings = Vec::new();
    keyed::labels("label", &mut change.labels, &args.label_add, &args.label_rm, &mut warnings)?;
    validate::node_change(&change).map_err(|invalid| Error::Usage(invalid.to_string()))?;
    Ok((change, warnings))
}
