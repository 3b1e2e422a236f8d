//! `muster service ls`.

use std::collections::BTreeMap;

use muster_proto::{service::Mode, show, v1};

use crate::{
    context::Context,
    error::Error,
    filter::{self, Filter, Filters},
    format::{
        list::{Column, List, ListFlags},
        text::{self, Truncate},
    },
    object::{self, Service},
};

/// List services
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service ls
  muster service ls --filter name=web --filter label=team=shop
  muster service ls --format '{{.Name}} {{.Replicas}}'")]
pub struct Args {
    /// Only services of which this holds: name=PREFIX, id=PREFIX, label=KEY[=VALUE], mode=replicated|global
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<Filter>,
    #[command(flatten)]
    pub shape: ListFlags,
    /// Ids and images in full
    #[arg(long)]
    pub no_trunc: bool,
}

const COLUMNS: &[Column] = &[
    Column::new("ID", "ID"),
    Column::new("Name", "NAME"),
    Column::new("Mode", "MODE"),
    Column::new("Replicas", "REPLICAS"),
    Column::new("Image", "IMAGE"),
    Column::new("Ports", "PORTS"),
    Column::on_request("Labels", "LABELS"),
    Column::on_request("UpdateStatus", "UPDATE STATUS"),
];

/// A service and how many of its tasks run.
#[derive(Clone, Debug)]
pub struct Summary {
    pub service: Service,
    pub running: u32,
    pub desired: u32,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let filters = Filters::new(&args.filter, &["name", "id", "label", "mode"])?;
    filters.check("mode", |name| ["replicated", "global"].contains(&name), "replicated, global")?;
    let daemon = context.connect().await?;
    let answer = daemon.control().list_services(v1::ListServicesRequest {}).await?.into_inner();
    let summaries = answer.services.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let list = list(&summaries, &filters, Truncate::unless(args.no_trunc));
    args.shape.print(&list, context.out)
}

fn read(summary: v1::ServiceSummary) -> Result<Summary, Error> {
    let service = summary.service.ok_or_else(|| object::missing("the service of a summary"))?.try_into()?;
    Ok(Summary { service, running: summary.running, desired: summary.desired })
}

fn list(summaries: &[Summary], filters: &Filters, truncate: Truncate) -> List {
    let by_name: BTreeMap<&str, &Summary> =
        summaries.iter().map(|summary| (summary.service.spec.name.as_str(), summary)).collect();
    let passing = by_name.into_values().filter(|summary| passes(&summary.service, filters));
    List { columns: COLUMNS, rows: passing.map(|summary| row(summary, truncate)).collect() }
}

fn passes(service: &Service, filters: &Filters) -> bool {
    filters.any("name", |name| service.spec.name.starts_with(name))
        && filters.any("id", |id| service.id.starts_with(id))
        && filters.any("mode", |name| name == mode(service.spec.mode))
        && filters.all("label", |asked| filter::label(&service.spec.labels, asked))
}

#[must_use]
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Replicated { .. } => "replicated",
        Mode::Global => "global",
    }
}

fn row(Summary { service, running, desired }: &Summary, truncate: Truncate) -> Vec<String> {
    let per_node = service.spec.task.placement.max_replicas_per_node;
    let per_node = per_node.map_or_else(String::new, |max| format!(" (max {max} per node)"));
    vec![
        truncate.id(&service.id),
        service.spec.name.clone(),
        mode(service.spec.mode).to_owned(),
        format!("{running}/{desired}{per_node}"),
        truncate.image(&service.spec.task.container.image),
        show::ports(&service.ports),
        text::labels(&service.spec.labels),
        service.rollout.as_ref().map_or_else(String::new, |rollout| rollout.state.as_str().to_owned()),
    ]
}
