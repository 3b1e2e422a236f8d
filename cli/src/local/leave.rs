//! `muster leave`.

use muster_proto::v1;

use crate::{context::Context, error::Error, format::text::counted};

/// Take this host out of its cluster
///
/// Its containers are removed, and the cluster starts them elsewhere. A manager that the others cannot do without is made
/// a worker first (`muster node demote self`), or leaves with --force. The last manager takes the whole cluster with it,
/// services and all, and leaves only with --force.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster leave
  muster leave --force          also where that ends the cluster")]
pub struct Args {
    /// Leave even where that ends the cluster, or nobody can be asked
    #[arg(short, long)]
    pub force: bool,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let answer = daemon.local().leave(v1::LeaveRequest { force: args.force }).await?.into_inner();
    let removed = counted(answer.containers_removed as usize, "container");
    context.out.line(format_args!("this node has left the cluster; {removed} removed"))
}
