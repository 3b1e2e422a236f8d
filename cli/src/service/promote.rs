//! `muster service promote`.

use super::{
    steer::{Steer, steer},
    wait_flags::{Accepted, WaitFlags},
};
use crate::{context::Context, error::Error, wait::verdict::Change};

/// Let an update go on that waits with its canaries
///
/// The canaries (--canary of `service create` and `service update`) run the new version and have lived through the monitor
/// window; now the other slots are replaced too. `muster service rollback` goes back instead.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service promote web
  muster service promote --detach web")]
pub struct Args {
    #[command(flatten)]
    pub wait: WaitFlags,
    /// Name or id of the service
    #[arg(value_name = "SERVICE")]
    pub service: String,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let (before, version) = steer(&args.service, Steer::Promote, context).await?;
    // The update that was there is the one that goes on.
    let accepted = Accepted { rollout_before: None, ..Accepted::of(&before, Change::Spec, version) };
    args.wait.wait(accepted, context).await
}
