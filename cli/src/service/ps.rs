//! `muster service ps`.

use muster_proto::v1;

use super::tasks::{self, Layout};
use crate::{
    context::{Context, Each},
    error::Error,
    filter::Filter,
    format::{
        flag::{self, Format},
        text::Truncate,
    },
    object,
};

/// List the tasks of services
///
/// A task that has no node says in the ERROR column what it waits for; a failed one why it failed. Older tasks of a slot
/// stand under the present one.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service ps web
  muster service ps --filter desired-state=running web worker
  muster service ps --format '{{.Name}}: {{.Error}}' web")]
pub struct Args {
    #[arg(short, long, value_name = "KEY=VALUE", help = tasks::FILTER_HELP)]
    pub filter: Vec<Filter>,
    /// table, json or a template; see --help
    #[arg(long, value_name = "FORMAT", default_value = "table", long_help = flag::HELP)]
    pub format: Format,
    /// Ids and images in full
    #[arg(long)]
    pub no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Names or ids of services
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let layout = Layout::new(&args.filter, Truncate::unless(args.no_trunc), context.surroundings.now())?;
    let daemon = context.connect().await?;
    let nodes = daemon.nodes().await?;
    let mut each = Each::default();
    let mut tasks = Vec::new();
    for service in &args.services {
        match daemon.service(service).await {
            Ok(service) => {
                let request = v1::ListTasksRequest { service_id: service.id, node_id: String::new() };
                let answer = daemon.control().list_tasks(request).await?.into_inner();
                tasks.extend(object::task::all(answer.tasks)?);
            }
            Err(error) => each.note(Err(error), context.out)?,
        }
    }
    let list = layout.list(&tasks, &nodes);
    if args.quiet {
        list.print_ids(context.out)?
    } else {
        list.print(&args.format, context.out)?
    }
    each.outcome()
}
