//! `muster node ps`.

use muster_proto::v1;

use super::SELF;
use crate::{
    context::{Context, Each},
    error::Error,
    filter::Filter,
    format::{
        flag::{self, Format},
        text::Truncate,
    },
    object,
    service::tasks::{self, Layout},
};

/// List the tasks on nodes
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster node ps
  muster node ps --filter desired-state=running host2")]
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
    /// Hostnames or ids of nodes; self is the one whose daemon answers
    #[arg(value_name = "NODE", default_value = SELF)]
    pub nodes: Vec<String>,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let layout = Layout::new(&args.filter, Truncate::unless(args.no_trunc), context.surroundings.now())?;
    let daemon = context.connect().await?;
    let mut each = Each::default();
    let (mut nodes, mut tasks) = (Vec::new(), Vec::new());
    for node in &args.nodes {
        match daemon.node(node).await {
            Ok(node) => {
                let request = v1::ListTasksRequest { service_id: String::new(), node_id: node.id.clone() };
                let answer = daemon.control().list_tasks(request).await?.into_inner();
                tasks.extend(object::task::all(answer.tasks)?);
                nodes.push(node);
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
