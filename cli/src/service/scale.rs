//! `muster service scale`.

use muster_proto::{parse, v1};
use tonic::Code;

use super::{
    update::ATTEMPTS_MAX,
    wait_flags::{Accepted, WaitFlags},
};
use crate::{
    connect::Daemon,
    context::{Context, Each},
    error::Error,
    object::Service,
    spec::change::scaled,
    wait::verdict::Change,
};

/// Change the number of replicas
///
/// Several services are scaled at once, then waited for one after another.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service scale web=5
  muster service scale web=5 worker=0")]
pub struct Args {
    #[command(flatten)]
    pub wait: WaitFlags,
    /// Service and number of replicas
    #[arg(required = true, value_name = "SERVICE=REPLICAS", value_parser = parse::scale)]
    pub services: Vec<(String, u32)>,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    for (at, (service, _)) in args.services.iter().enumerate() {
        if args.services[..at].iter().any(|(other, _)| other == service) {
            return Err(Error::Usage(format!("{service} is named twice; give it one number of replicas")));
        }
    }
    let daemon = context.connect().await?;
    let mut each = Each::default();
    let mut changed = Vec::new();
    for (service, replicas) in &args.services {
        match scale(&daemon, service, *replicas).await {
            Ok((before, version)) => {
                context.out.line(format_args!("{service} scaled to {replicas}"))?;
                changed.push((before, version));
            }
            Err(error) => each.note(Err(error), context.out)?,
        }
    }
    for (before, version) in &changed {
        let waited = args.wait.wait(Accepted::of(before, Change::Spec, *version), context).await;
        each.note(waited, context.out)?;
    }
    each.outcome()
}

/// The service as it was, and the version that it has now. Nothing is sent for the number that it has already: an update
/// that changes nothing would take a paused rollout up again.
async fn scale(daemon: &Daemon, service: &str, replicas: u32) -> Result<(Service, u64), Error> {
    let mut attempts_left = ATTEMPTS_MAX;
    loop {
        let before = daemon.service(service).await?;
        let mut spec = before.spec.clone();
        spec.mode = scaled(&spec, replicas)?;
        if spec.mode == before.spec.mode {
            let version = before.version;
            return Ok((before, version));
        }
        let request = v1::UpdateServiceRequest {
            id: before.id.clone(),
            version: before.version,
            spec: Some((&spec).into()),
            resolve_image: false,
        };
        attempts_left -= 1;
        match daemon.control().update_service(request).await {
            Ok(answer) => return Ok((before, answer.into_inner().version)),
            Err(status) if status.code() == Code::Aborted && attempts_left > 0 => {}
            Err(status) => return Err(status.into()),
        }
    }
}
