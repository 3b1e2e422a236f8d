//! `muster node ls`.

use muster_proto::time::Timestamp;

use super::last_seen;
use crate::{
    context::Context,
    error::Error,
    filter::{self, Filter, Filters},
    format::{
        list::{Column, List, ListFlags},
        text::labels,
    },
    object::{Node, node::Description},
};

/// List the nodes of the cluster
///
/// The node whose daemon answers has a star behind its id.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster node ls
  muster node ls --filter role=manager
  muster node ls --format '{{.Hostname}}: {{.Problems}}'")]
pub struct Args {
    /// Only nodes of which this holds: name=PREFIX, id=PREFIX, role=manager|worker, label=KEY[=VALUE]
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<Filter>,
    #[command(flatten)]
    pub shape: ListFlags,
}

const COLUMNS: &[Column] = &[
    Column::on_request("ID", "ID"),
    Column::new("IDAndSelf", "ID"),
    Column::new("Hostname", "HOSTNAME"),
    Column::new("Status", "STATUS"),
    Column::new("Availability", "AVAILABILITY"),
    Column::new("Role", "ROLE"),
    Column::new("ManagerStatus", "MANAGER STATUS"),
    Column::new("Address", "ADDRESS"),
    Column::new("EngineAndVersion", "ENGINE"),
    Column::new("MusterVersion", "VERSION"),
    Column::new("LastSeen", "LAST SEEN"),
    Column::on_request("Self", "SELF"),
    Column::on_request("Engine", "ENGINE"),
    Column::on_request("EngineVersion", "ENGINE VERSION"),
    Column::on_request("Labels", "LABELS"),
    Column::on_request("CertificateExpiresAt", "CERTIFICATE UNTIL"),
    Column::on_request("Problems", "PROBLEMS"),
];

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let filters = Filters::new(&args.filter, &["name", "id", "role", "label"])?;
    filters.check("role", |role| ["manager", "worker"].contains(&role), "manager, worker")?;
    let daemon = context.connect().await?;
    let nodes = daemon.nodes().await?;
    let own = daemon.own_node_id().await?;
    let list = list(&nodes, own.as_deref(), &filters, context.surroundings.now());
    args.shape.print(&list, context.out)
}

fn list(nodes: &[Node], own: Option<&str>, filters: &Filters, now: Timestamp) -> List {
    let mut nodes: Vec<&Node> = nodes.iter().filter(|node| passes(node, filters)).collect();
    nodes.sort_by_key(|node| (node.hostname(), &node.id));
    List { columns: COLUMNS, rows: nodes.into_iter().map(|node| row(node, own, now)).collect() }
}

fn passes(node: &Node, filters: &Filters) -> bool {
    filters.any("name", |name| node.hostname().starts_with(name))
        && filters.any("id", |id| node.id.starts_with(id))
        && filters.any("role", |role| node.role.to_string() == role)
        && filters.all("label", |asked| filter::label(&node.labels, asked))
}

fn row(node: &Node, own: Option<&str>, now: Timestamp) -> Vec<String> {
    let is_own = own == Some(node.id.as_str());
    let star = if is_own { " *" } else { "" };
    let described = node.description.as_ref();
    let problems = described.map_or_else(Vec::new, |description| {
        description.engine_unavailable.iter().chain(&description.problems).cloned().collect()
    });
    let said = |part: &dyn Fn(&Description) -> String| described.map_or_else(String::new, part);
    vec![
        node.id.clone(),
        format!("{}{star}", node.id),
        node.hostname().to_owned(),
        node.state.to_string(),
        node.availability.to_string(),
        node.role.to_string(),
        node.manager_status().to_string(),
        node.address.clone(),
        said(&|description| format!("{} {}", description.engine, description.engine_version)),
        said(&|description| description.muster_version.clone()),
        last_seen(node, now),
        is_own.to_string(),
        said(&|description| description.engine.clone()),
        said(&|description| description.engine_version.clone()),
        labels(&node.labels),
        node.certificate_expires_at.map_or_else(String::new, |at| at.to_string()),
        problems.join("; "),
    ]
}
