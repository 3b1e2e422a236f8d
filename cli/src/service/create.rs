//! `muster service create`.

use muster_proto::v1;

use super::wait_flags::{Accepted, WaitFlags};
use crate::{
    context::Context,
    error::Error,
    spec::{build, name},
    wait::verdict::Change,
};

/// Create a service
///
/// Prints the id of the service, then shows the progress of each task until all of them run. Where that cannot be, it
/// says why and exits with 1; the service is there all the same, to be mended or removed.
#[derive(clap::Args, Clone, Debug)]
#[command(
    override_usage = "muster service create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    after_help = "Examples:
  muster service create --name web --replicas 3 -p 8000:8000 myapp:1.0.0
  muster service create --name db --mount type=volume,source=db,target=/var/lib/postgresql/data \\
      --constraint node.labels.disk==ssd -e POSTGRES_PASSWORD postgres:17
  muster service create --name web --health-http 8000/healthz --update-parallelism 2 -p 80:8000 myapp:1.0.0
  muster service create --name agent --mode global --limit-memory 64m agent:2 --verbose

A port published in ingress mode (the default) is open on every node, and connections go to ready tasks anywhere in the
cluster; in host mode it is bound on the task's own node. Durations are written like 500ms, 10s, 1m30s; memory like 64m, 2g."
)]
pub struct Args {
    #[command(flatten)]
    pub wait: WaitFlags,
    #[command(flatten)]
    pub flags: build::CreateFlags,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let made_up = name::from_bits(rand::random());
    let (spec, warnings) = build::spec(&args.flags, &made_up, context.surroundings)?;
    context.out.warn(&warnings);
    let daemon = context.connect().await?;
    let request = v1::CreateServiceRequest { spec: Some((&spec).into()) };
    let created = daemon.control().create_service(request).await?.into_inner();
    context.out.warn(&created.warnings);
    context.out.line(&created.id)?;
    let accepted =
        Accepted { service_id: &created.id, name: &spec.name, change: Change::Spec, version: 0, rollout_before: None };
    args.wait.wait(accepted, context).await
}
