//! `muster service resume`.

use super::{
    steer::{Steer, steer},
    wait_flags::{Accepted, WaitFlags},
};
use crate::{context::Context, error::Error, wait::verdict::Change};

/// Go on with an update or a rollback that is paused
///
/// One that was paused by hand goes on where it was; one that failed begins to count failures anew. An update that waits with
/// its canaries goes on with `muster service promote`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service resume web
  muster service resume --detach web")]
pub struct Args {
    #[command(flatten)]
    pub wait: WaitFlags,
    /// Name or id of the service
    #[arg(value_name = "SERVICE")]
    pub service: String,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let (before, version) = steer(&args.service, Steer::Resume, context).await?;
    // The rollout that was there is the one that goes on.
    let goes_back = before.rollout.as_ref().is_some_and(|rollout| rollout.state.is_rollback());
    let change = if goes_back { Change::Rollback } else { Change::Spec };
    let accepted = Accepted { rollout_before: None, ..Accepted::of(&before, change, version) };
    args.wait.wait(accepted, context).await
}
