//! `muster service rollback`.

use muster_proto::v1;
use tonic::Code;

use super::{
    update::ATTEMPTS_MAX,
    wait_flags::{Accepted, WaitFlags},
};
use crate::{context::Context, error::Error, wait::verdict::Change};

/// Go back to a service's previous spec
///
/// The spec before the last update comes back, replicas and labels too, as the --rollback-… flags of the service say.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service rollback web
  muster service rollback --detach web")]
pub struct Args {
    #[command(flatten)]
    pub wait: WaitFlags,
    /// Name or id of the service
    #[arg(value_name = "SERVICE")]
    pub service: String,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    roll_back(&args.service, &args.wait, context).await
}

pub(super) async fn roll_back(service: &str, wait: &WaitFlags, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let mut attempts_left = ATTEMPTS_MAX;
    let (before, answer) = loop {
        let before = daemon.service(service).await?;
        let request = v1::RollbackServiceRequest { id: before.id.clone(), version: before.version };
        attempts_left -= 1;
        match daemon.control().rollback_service(request).await {
            Ok(answer) => break (before, answer.into_inner()),
            Err(status) if status.code() == Code::Aborted && attempts_left > 0 => {}
            Err(status) => return Err(status.into()),
        }
    };
    context.out.warn(&answer.warnings);
    context.out.line(service)?;
    wait.wait(Accepted::of(&before, Change::Rollback, answer.version), context).await
}
