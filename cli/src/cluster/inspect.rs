//! `muster cluster inspect`.

use muster_proto::show;

use crate::{
    context::Context,
    error::Error,
    format::{inspect::InspectFlags, lines::Lines},
    object::Cluster,
    view,
};

/// Show the cluster's settings and what it holds
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster cluster inspect --pretty
  muster cluster inspect --format '{{.Spec.Dispatcher.Lease}}'")]
pub struct Args {
    #[command(flatten)]
    pub shape: InspectFlags,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let cluster = context.connect().await?.cluster().await?;
    args.shape.print(vec![view::cluster::cluster(&cluster)], &[pretty(&cluster)], context.out)
}

fn pretty(cluster: &Cluster) -> String {
    let limit = |amount: u64, shown: fn(u64) -> String| if amount == 0 { "none".into() } else { shown(amount) };
    let spec = &cluster.spec;
    let mut lines = Lines::new();
    lines.top("ID", &cluster.id).top("Created", cluster.created_at).top("Incarnation", cluster.incarnation);
    lines.heading("Holds").under("Managers", cluster.managers).under("Nodes", cluster.nodes);
    lines.under("Services", cluster.services).under("Tasks running", cluster.tasks_running);
    lines.heading("Settings").under("Task history", format_args!("{} for each slot", spec.task_history_limit));
    lines.under("Heartbeat", show::duration(spec.heartbeat)).under("Lease", show::duration(spec.lease));
    lines.under("Default memory", limit(spec.default_memory_limit_bytes, show::bytes));
    lines.under("Default pids", limit(spec.default_pids_limit, |pids| pids.to_string()));
    lines.under("Certificates for", show::duration(spec.certificate_validity));
    lines.under("Auto rebalance", if spec.auto_rebalance { "on" } else { "off" });
    lines.text()
}
