//! `muster node rm`.

use std::time::Duration;

use muster_manager::{authorization::Denied, raft::standing::Dismissal};
use muster_proto::{id::NodeId, v1};
use tokio::time::Instant;
use tonic::Status;

use crate::{
    connect::Daemon,
    context::{Context, Each},
    error::Error,
};

/// Take nodes out of the cluster for good
///
/// For nodes that are gone; one that is up leaves by itself with `muster leave`. What ran there is started elsewhere, the
/// node's certificate is worth nothing from then on, and its connections end at once.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster node rm host3
  muster node rm --force host3          also while it is up, or a manager")]
pub struct Args {
    /// Also while it is up, or a manager that cannot be demoted first
    #[arg(short, long)]
    pub force: bool,
    /// Hostnames or ids of nodes
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
}

/// What was asked to remove its own node has heard what became of it well within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to hear it.
const PAUSE: Duration = Duration::from_millis(200);

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let mut each = Each::default();
    for node in &args.nodes {
        let outcome = match remove(&daemon, node, args.force).await {
            Ok(warnings) => {
                context.out.warn(&warnings);
                context.out.line(node)
            }
            Err(error) => Err(error),
        };
        each.note(outcome, context.out)?;
    }
    each.outcome()
}

/// Returns what there is to warn about.
async fn remove(daemon: &Daemon, node: &str, force: bool) -> Result<Vec<String>, Error> {
    let request = v1::RemoveNodeRequest { node: daemon.node(node).await?.id, force };
    let is_own = daemon.own_node_id().await?.as_ref() == Some(&request.node);
    let gone = request.node.parse::<NodeId>().ok().filter(|_| is_own).map(|own| Denied::Removed(own).to_string());
    let end = Instant::now() + PATIENCE;
    let mut warnings = loop {
        match daemon.control().remove_node(request.clone()).await {
            Ok(answer) => break answer.into_inner().warnings,
            // This host itself: the others hear it no more, and the answer with it.
            Err(status) if gone.as_deref() == Some(status.message()) => break Vec::new(),
            // It may be a worker as well, which somebody else has made of it: its daemon is about to hear.
            Err(status) if is_own && is_let_go(&status) => {
                if Instant::now() >= end {
                    return Err(Error::Failed(format!(
                        "{}, and which of the two is not known yet; look on another manager with `muster node ls`",
                        status.message()
                    )));
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(status) => match Error::from(status) {
                error if is_own && error.is_passing() && Instant::now() < end => tokio::time::sleep(PAUSE).await,
                error => return Err(error),
            },
        }
    };
    if is_own {
        warnings.push(
            "this host is no node of the cluster any more; `muster leave --force` removes its containers, and it may join \
             again then"
                .to_owned(),
        );
    }
    Ok(warnings)
}

/// This host's manager knows that it is none any more, and not what its node is.
fn is_let_go(status: &Status) -> bool {
    status.message() == Dismissal::Retired.to_string()
}
