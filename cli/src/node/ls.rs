//! `muster node ls`.

use muster_proto::node::Role;

use crate::{
    context::Context,
    error::Error,
    filter::{self, Filter, Filters},
    format::{
        flag::{self, Format},
        list::{Column, List},
    },
    object::Node,
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
    /// table, json or a template; see --help
    #[arg(long, value_name = "FORMAT", default_value = "table", long_help = flag::HELP)]
    pub format: Format,
    /// Only ids
    #[arg(short, long)]
    pub quiet: bool,
}

const COLUMNS: &[Column] = &[
    Column::on_request("ID", "ID"),
    Column::new("IDAndSelf", "ID"),
    Column::new("Hostname", "HOSTNAME"),
    Column::new("Status", "STATUS"),
    Column::new("Availability", "AVAILABILITY"),
    Column::new("ManagerStatus", "MANAGER STATUS"),
    Column::new("EngineVersion", "ENGINE VERSION"),
    Column::on_request("Self", "SELF"),
    Column::on_request("Address", "ADDRESS"),
    Column::on_request("Engine", "ENGINE"),
    Column::on_request("MusterVersion", "MUSTER VERSION"),
    Column::on_request("Problems", "PROBLEMS"),
];

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let filters = Filters::new(&args.filter, &["name", "id", "role", "label"])?;
    filters.check("role", |role| ["manager", "worker"].contains(&role), "manager, worker")?;
    let daemon = context.connect().await?;
    let nodes = daemon.nodes().await?;
    let own = daemon.own_node_id().await?;
    let list = list(&nodes, own.as_deref(), &filters);
    if args.quiet { list.print_ids(context.out) } else { list.print(&args.format, context.out) }
}

fn list(nodes: &[Node], own: Option<&str>, filters: &Filters) -> List {
    let mut nodes: Vec<&Node> = nodes.iter().filter(|node| passes(node, filters)).collect();
    nodes.sort_by_key(|node| (node.hostname(), &node.id));
    List { columns: COLUMNS, rows: nodes.into_iter().map(|node| row(node, own)).collect() }
}

fn passes(node: &Node, filters: &Filters) -> bool {
    filters.any("name", |name| node.hostname().starts_with(name))
        && filters.any("id", |id| node.id.starts_with(id))
        && filters.any("role", |role| node.role.to_string() == role)
        && filters.all("label", |asked| filter::label(&node.labels, asked))
}

/// A manager that its agent holds a session to is reachable.
fn manager_status(node: &Node) -> &'static str {
    match (node.role, node.leader) {
        (Role::Worker, _) => "",
        (Role::Manager, true) => "Leader",
        (Role::Manager, false) => "Reachable",
    }
}

fn row(node: &Node, own: Option<&str>) -> Vec<String> {
    let is_own = own == Some(node.id.as_str());
    let star = if is_own { " *" } else { "" };
    let described = node.description.as_ref();
    let problems = described.map_or_else(Vec::new, |description| {
        description.engine_unavailable.iter().chain(&description.problems).cloned().collect()
    });
    vec![
        node.id.clone(),
        format!("{}{star}", node.id),
        node.hostname().to_owned(),
        node.state.to_string(),
        node.availability.to_string(),
        manager_status(node).to_owned(),
        described.map_or_else(String::new, |description| description.engine_version.clone()),
        is_own.to_string(),
        node.address.clone(),
        described.map_or_else(String::new, |description| description.engine.clone()),
        described.map_or_else(String::new, |description| description.muster_version.clone()),
        problems.join("; "),
    ]
}
