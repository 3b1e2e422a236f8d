//! `muster node ps`.

use muster_proto::v1;

use super::SELF;
use crate::{
    context::{Context, Each},
    error::Error,
    service::tasks::TaskFlags,
};

/// List the tasks on nodes
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster node ps
  muster node ps --filter desired-state=running host2")]
pub struct Args {
    #[command(flatten)]
    pub shape: TaskFlags,
    /// Hostnames or ids of nodes; self is the one whose daemon answers
    #[arg(value_name = "NODE", default_value = SELF)]
    pub nodes: Vec<String>,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let layout = args.shape.layout(context.surroundings.now())?;
    let daemon = context.connect().await?;
    let mut each = Each::default();
    let (mut nodes, mut tasks) = (Vec::new(), Vec::new());
    for node in &args.nodes {
        match daemon.node(node).await {
            Ok(node) => {
                let of = v1::ListTasksRequest { service_id: String::new(), node_id: node.id.clone() };
                tasks.extend(daemon.tasks(of).await?);
                nodes.push(node);
            }
            Err(error) => each.note(Err(error), context.out)?,
        }
    }
    args.shape.list.print(&layout.list(&tasks, &nodes), context.out)?;
    each.outcome()
}
