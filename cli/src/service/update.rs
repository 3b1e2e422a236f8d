//! `muster service update`.

use muster_proto::v1;
use tonic::Code;

use super::{
    rollback,
    wait_flags::{Accepted, WaitFlags},
};
use crate::{
    connect::Daemon,
    context::Context,
    error::Error,
    object::Service,
    spec::change::{self, ChangeFlags},
    surroundings::Surroundings,
    wait::verdict::Change,
};

/// A rollout changes its service's version with every slot, so a change made meanwhile is read and made again.
pub const ATTEMPTS_MAX: u32 = 10;

/// Change a service
///
/// What is not named stays as it is. A change of the containers replaces them slot by slot as the --update-… flags say;
/// a change of labels or replicas leaves those that run alone. Shows the progress until the service is as asked; where
/// the update was paused or rolled back it says why, with the output of the tasks that failed, and exits with 1.
#[derive(clap::Args, Clone, Debug)]
#[command(
    override_usage = "muster service update [OPTIONS] SERVICE",
    after_help = "Examples:
  muster service update --image myapp:2.0.0 web
  muster service update --env-add LEVEL=debug --env-rm TRACE web
  muster service update --publish-rm 8000 --publish-add 9000:8000 web
  muster service update --force web                     replace every task, with nothing changed
  muster service update --rollback web                  back to the previous spec
  muster service update web                             go on with an update that is paused

An empty text takes --user, --workdir, --hostname, --stop-signal and --health-cmd back to the image's own."
)]
pub struct Args {
    #[command(flatten)]
    pub wait: WaitFlags,
    /// Go back to the previous spec; with no other change
    #[arg(long)]
    pub rollback: bool,
    #[command(flatten)]
    pub flags: ChangeFlags,
    /// Name or id of the service
    #[arg(value_name = "SERVICE", help_heading = "Arguments")]
    pub service: String,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    match (args.rollback, args.flags == ChangeFlags::default()) {
        (true, true) => return rollback::roll_back(&args.service, &args.wait, context).await,
        (true, false) => {
            return Err(Error::Usage(
                "--rollback goes with no other change; roll back first, then update again".to_owned(),
            ));
        }
        // Without any flag too: a paused rollout is taken up again by it.
        (false, _) => {}
    }
    let daemon = context.connect().await?;
    let (before, answer) = change(&daemon, &args.service, &args.flags, context.surroundings, context.out).await?;
    context.out.warn(&answer.warnings);
    context.out.line(&args.service)?;
    args.wait.wait(Accepted::of(&before, Change::Spec, answer.version), context).await
}

async fn change(
    daemon: &Daemon,
    service: &str,
    flags: &ChangeFlags,
    surroundings: &dyn Surroundings,
    out: &mut crate::out::Out,
) -> Result<(Service, v1::UpdateServiceResponse), Error> {
    let mut attempts_left = ATTEMPTS_MAX;
    loop {
        let before = daemon.service(service).await?;
        let mut spec = before.spec.clone();
        let warnings = change::apply(flags, &mut spec, surroundings)?;
        // As `service scale` does: the number that is there already is no wish to take a paused rollout up again.
        if flags.only_scale() && spec == before.spec {
            let answer = v1::UpdateServiceResponse { version: before.version, warnings: Vec::new() };
            return Ok((before, answer));
        }
        let request = v1::UpdateServiceRequest {
            id: before.id.clone(),
            version: before.version,
            spec: Some((&spec).into()),
            resolve_image: flags.image.is_some(),
        };
        attempts_left -= 1;
        match daemon.control().update_service(request).await {
            Ok(answer) => {
                out.warn(&warnings);
                return Ok((before, answer.into_inner()));
            }
            Err(status) if status.code() == Code::Aborted && attempts_left > 0 => {}
            Err(status) => return Err(status.into()),
        }
    }
}
