//! `muster node rm`.

use muster_proto::v1;

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

async fn remove(daemon: &Daemon, node: &str, force: bool) -> Result<Vec<String>, Error> {
    let id = daemon.node(node).await?.id;
    Ok(daemon.control().remove_node(v1::RemoveNodeRequest { node: id, force }).await?.into_inner().warnings)
}
