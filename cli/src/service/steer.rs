//! Pausing, resuming and promoting a rollout, which differ in one word.

use muster_proto::v1;
use tonic::{Code, Response, Status};

use super::update::ATTEMPTS_MAX;
use crate::{connect::Daemon, context::Context, error::Error, object::Service};

/// What is asked of the rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steer {
    Pause,
    Resume,
    Promote,
}

/// The service as it was, and the version that it has now. A rollout changes its service's version with every slot, so
/// what was overtaken is asked again.
pub(super) async fn steer(service: &str, steer: Steer, context: &mut Context<'_>) -> Result<(Service, u64), Error> {
    let daemon = context.connect().await?;
    let mut attempts_left = ATTEMPTS_MAX;
    loop {
        let before = daemon.service(service).await?;
        let request = v1::SteerRolloutRequest { id: before.id.clone(), version: before.version };
        attempts_left -= 1;
        match ask(&daemon, steer, request).await {
            Ok(answer) => {
                context.out.line(service)?;
                return Ok((before, answer.into_inner().version));
            }
            Err(status) if status.code() == Code::Aborted && attempts_left > 0 => {}
            Err(status) => return Err(status.into()),
        }
    }
}

async fn ask(
    daemon: &Daemon,
    steer: Steer,
    request: v1::SteerRolloutRequest,
) -> Result<Response<v1::UpdateServiceResponse>, Status> {
    let mut control = daemon.control();
    match steer {
        Steer::Pause => control.pause_rollout(request).await,
        Steer::Resume => control.resume_rollout(request).await,
        Steer::Promote => control.promote_service(request).await,
    }
}
