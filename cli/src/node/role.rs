//! `muster node promote` and `muster node demote`.

use std::time::Duration;

use muster_proto::node::{NodeChange, NodeState, Role};
use tokio::time::Instant;
use tonic::Code;

use super::change;
use crate::{
    connect::Daemon,
    context::{Context, Each},
    error::Error,
    object::{ManagerStatus, Node},
    out::Out,
};

/// Make nodes managers
///
/// Each gets the cluster's log first and votes once it has caught up; the command waits for that. Use an odd number of
/// managers: three withstand the loss of one, five of two.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster node promote host2 host3
  muster node promote --detach host2")]
pub struct PromoteArgs {
    #[command(flatten)]
    pub shared: Shared,
}

/// Make managers workers
///
/// Their tasks run on. A leader hands over first. Refused where the managers that remain could decide nothing; the
/// command waits until the node has no vote any more.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster node demote host3
  muster node demote self")]
pub struct DemoteArgs {
    #[command(flatten)]
    pub shared: Shared,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Shared {
    /// Return at once instead of waiting until the node is what it shall be
    #[arg(short, long)]
    pub detach: bool,
    /// Hostnames or ids of nodes; self is the one whose daemon answers
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// A manager that has not caught up by then has a large state or a bad line, and goes on without this command.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn promote(args: PromoteArgs, context: &mut Context<'_>) -> Result<(), Error> {
    each(&args.shared, Role::Manager, context).await
}

pub async fn demote(args: DemoteArgs, context: &mut Context<'_>) -> Result<(), Error> {
    each(&args.shared, Role::Worker, context).await
}

/// One after another: each membership change wants the managers of the one before.
async fn each(args: &Shared, role: Role, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let (mut each, mut warnings) = (Each::default(), Vec::new());
    for node in &args.nodes {
        let outcome = turn(&daemon, node, role, args, &mut warnings, context.out).await;
        each.note(outcome, context.out)?;
    }
    // What the last change leaves: an even number of managers on the way to an odd one is none to warn about.
    context.out.warn(&warnings);
    each.outcome()
}

async fn turn(
    daemon: &Daemon,
    node: &str,
    role: Role,
    args: &Shared,
    warnings: &mut Vec<String>,
    out: &mut Out,
) -> Result<(), Error> {
    let before = daemon.node(node).await?;
    if is_done(&before, role) {
        return out.line(format_args!("node {node} is a {role} already"));
    }
    let is_own = daemon.own_node_id().await?.as_ref() == Some(&before.id);
    // By its id from here on: `self` has to mean the same to the end, and names may be given anew.
    *warnings = change::make(daemon, &before.id, |node| {
        Ok(NodeChange { role: Some(role), availability: node.availability, labels: node.labels.clone() })
    })
    .await?;
    // There is no telling when a node that is down does its part.
    if args.detach || (role, before.state) == (Role::Manager, NodeState::Down) {
        return out.line(format_args!("node {node} becomes a {role}"));
    }
    let end = Instant::now() + PATIENCE;
    loop {
        match daemon.node(&before.id).await {
            Ok(now) if now.role != role => {
                return Err(Error::Failed(format!("node {node} was made a {} again meanwhile", now.role)));
            }
            Ok(now) if is_done(&now, role) => return out.line(format_args!("node {node} is a {role} now")),
            Ok(now) if (role, now.state) == (Role::Manager, NodeState::Down) => {
                return out.line(format_args!("node {node} is down; it becomes a {role} once its daemon is up again"));
            }
            Ok(_) => {}
            Err(error) if error.is_passing() => {}
            // What this host's own manager passes on while it ends is a worker's call already.
            Err(error) if is_own && role == Role::Worker && error.code() == Some(Code::PermissionDenied) => {}
            // This host's own daemon is a worker's by now, and refuses what is for managers.
            Err(error) if is_own && role == Role::Worker && error.code() == Some(Code::FailedPrecondition) => {
                return out.line(format_args!("node {node} is a worker now"));
            }
            Err(error) => return Err(error),
        }
        if Instant::now() >= end {
            return Err(Error::Failed(format!(
                "node {node} is to become a {role} and is not yet: {}; look at it with `muster node ls`",
                reason(role)
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn reason(role: Role) -> &'static str {
    match role {
        Role::Manager => "it has not caught up with the others, or cannot be reached",
        Role::Worker => "the managers have not taken its vote away",
    }
}

/// Its vote counts or does not; the role alone says only what shall be.
fn is_done(node: &Node, role: Role) -> bool {
    let is_so = match node.manager_status() {
        // An unreachable one votes, though nobody hears from it now.
        ManagerStatus::Leader | ManagerStatus::Reachable | ManagerStatus::Unreachable => role == Role::Manager,
        ManagerStatus::None => role == Role::Worker,
        ManagerStatus::Learner | ManagerStatus::Leaving => false,
    };
    is_so && node.role == role
}
