//! `muster service pause`.

use super::steer::{Steer, steer};
use crate::{context::Context, error::Error};

/// Pause a service's update or rollback
///
/// Slots that were replaced keep their new task, the others their old one, until `muster service resume`. What has failed
/// and what is done stays counted.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service pause web")]
pub struct Args {
    /// Name or id of the service
    #[arg(value_name = "SERVICE")]
    pub service: String,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    steer(&args.service, Steer::Pause, context).await.map(drop)
}
