//! `muster leave`.

use muster_proto::v1;

use crate::{context::Context, error::Error, format::text::counted};

/// Take this host out of its cluster
///
/// Its containers are removed, and the cluster starts them elsewhere. Refused where too few of the other managers are up
/// to decide anything: bring them back up, or promote another node first. The last manager takes the whole cluster with
/// it, services and all, unless another node is made a manager first. With --force it leaves all the same.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster leave
  muster leave --force          also where that ends the cluster or its quorum")]
pub struct Args {
    /// Leave even where that ends the cluster or its quorum, or nobody can be asked
    #[arg(short, long)]
    pub force: bool,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let answer = daemon.local().leave(v1::LeaveRequest { force: args.force }).await?.into_inner();
    let removed = counted(answer.containers_removed as usize, "container");
    context.out.line(format_args!("this node has left the cluster; {removed} removed"))?;
    context.out.warn(&answer.warnings);
    Ok(())
}
