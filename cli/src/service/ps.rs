//! `muster service ps`.

use muster_proto::v1;

use super::{failures, tasks::TaskFlags};
use crate::{
    context::{Context, Each},
    error::Error,
};

/// List the tasks of services
///
/// A task that has no node says in the ERROR column what it waits for; a failed one why it failed. Older tasks of a slot
/// stand under the present one. Below the table stands what the failed ones left: the output of the health check and the
/// last lines of their own, of the last to fail in each slot and of those that a rollout failed with.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service ps web
  muster service ps --filter desired-state=running web worker
  muster service ps --format '{{.Name}}: {{.Error}}' web
  muster service ps --format '{{.Name}} {{.ExitCode}}\\n{{json .LogTail}}' web")]
pub struct Args {
    #[command(flatten)]
    pub shape: TaskFlags,
    /// Names or ids of services
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let layout = args.shape.layout(context.surroundings.now())?;
    let daemon = context.connect().await?;
    let nodes = daemon.nodes().await?;
    let mut each = Each::default();
    let (mut services, mut tasks) = (Vec::new(), Vec::new());
    for service in &args.services {
        match daemon.service(service).await {
            Ok(service) => {
                let of = v1::ListTasksRequest { service_id: service.id.clone(), node_id: String::new() };
                tasks.extend(daemon.tasks(of).await?);
                services.push(service);
            }
            Err(error) => each.note(Err(error), context.out)?,
        }
    }
    args.shape.list.print(&layout.list(&tasks, &nodes), context.out)?;
    if args.shape.list.is_for_people() {
        let left = failures::text(&services, &layout.select(&tasks, &nodes), &layout);
        context.out.bytes(left.as_bytes())?;
    }
    each.outcome()
}
