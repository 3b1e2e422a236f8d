//! `muster node inspect`.

use muster_proto::{show, time::Timestamp};

use super::{SELF, last_seen};
use crate::{
    context::{Context, Each},
    error::Error,
    format::{
        inspect::InspectFlags,
        lines::Lines,
        text::{ago, labels},
    },
    object::Node,
    view,
};

/// Show nodes in full
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster node inspect
  muster node inspect --pretty host2
  muster node inspect --format '{{.Status.State}}' host2")]
pub struct Args {
    #[command(flatten)]
    pub shape: InspectFlags,
    /// Hostnames or ids of nodes; self is the one whose daemon answers
    #[arg(value_name = "NODE", default_value = SELF)]
    pub nodes: Vec<String>,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let mut each = Each::default();
    let (mut objects, mut people) = (Vec::new(), Vec::new());
    for node in &args.nodes {
        match daemon.node(node).await {
            Ok(node) => {
                objects.push(view::node::node(&node));
                people.push(pretty(&node, context.surroundings.now()));
            }
            Err(error) => each.note(Err(error), context.out)?,
        }
    }
    args.shape.print(objects, &people, context.out)?;
    each.outcome()
}

/// Nothing of a manager that has all.
fn counted_entries(lag: u64) -> String {
    match lag {
        0 => String::new(),
        1 => "1 entry".to_owned(),
        _ => format!("{lag} entries"),
    }
}

fn pretty(node: &Node, now: Timestamp) -> String {
    let mut lines = Lines::new();
    lines.top("ID", &node.id).top("Hostname", node.hostname()).top("Labels", labels(&node.labels));
    lines.top("Joined", ago(node.created_at, now)).top("Role", node.role).top("Address", &node.address);
    lines.heading("Status").under("State", node.state).under("Availability", node.availability);
    lines.under("Last seen", last_seen(node, now));
    lines.under("Certificate until", node.certificate_expires_at.map_or_else(String::new, |at| at.to_string()));
    lines.heading("Manager").under("Status", node.manager_status());
    if let Some(manager) = node.manager {
        lines.under("Raft ID", manager.raft_id).under("Behind by", counted_entries(manager.lag));
    }
    if let Some(description) = &node.description {
        lines.heading("Platform").under("OS", &description.os).under("Architecture", &description.arch);
        lines.heading("Resources").under("CPUs", show::cpus(description.resources.nano_cpus));
        lines.under("Memory", show::bytes(description.resources.memory_bytes));
        lines.heading("Engine").under("Name", &description.engine).under("Version", &description.engine_version);
        lines.under("Labels", labels(&description.engine_labels));
        lines.under("Unavailable", description.engine_unavailable.clone().unwrap_or_default());
        lines.top("Muster Version", &description.muster_version);
        for problem in &description.problems {
            lines.top("Problem", problem);
        }
    }
    lines.text()
}
