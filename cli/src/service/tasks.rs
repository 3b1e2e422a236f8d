//! Tasks as a table, for `service ps` and `node ps`.

use std::{cmp::Reverse, collections::BTreeMap};

use muster_proto::{show, task::Slot, task_state::DesiredState, time::Timestamp};

use crate::{
    error::Error,
    filter::{Filter, Filters},
    format::{
        evidence,
        list::{Column, List, ListFlags},
        text::{Truncate, ago},
    },
    object::{Node, Task},
};

const COLUMNS: &[Column] = &[
    Column::new("ID", "ID"),
    Column::new("Name", "NAME"),
    Column::new("Image", "IMAGE"),
    Column::new("Node", "NODE"),
    Column::new("DesiredState", "DESIRED STATE"),
    Column::new("CurrentState", "CURRENT STATE"),
    Column::new("Error", "ERROR"),
    Column::new("Ports", "PORTS"),
    Column::on_request("ExitCode", "EXIT CODE"),
    Column::on_request("OOMKilled", "OOM KILLED"),
    Column::on_request("HealthOutput", "HEALTH OUTPUT"),
    Column::on_request("LogTail", "LOG TAIL"),
];

/// What the commands that list tasks share.
#[derive(clap::Args, Clone, Debug)]
pub struct TaskFlags {
    /// Only tasks of which this holds: name=PREFIX, id=PREFIX, node=NAME-OR-ID, desired-state=running|shutdown|…
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub filter: Vec<Filter>,
    #[command(flatten)]
    pub list: ListFlags,
    /// Ids and images in full
    #[arg(long)]
    pub no_trunc: bool,
}

impl TaskFlags {
    pub fn layout(&self, now: Timestamp) -> Result<Layout, Error> {
        let filters = Filters::new(&self.filter, &["name", "id", "node", "desired-state"])?;
        filters.check("desired-state", |text| desired_named(text).is_some(), "ready, running, shutdown, remove")?;
        Ok(Layout { filters, truncate: Truncate::unless(self.no_trunc), now })
    }
}

/// How the table is to be made.
#[derive(Debug)]
pub struct Layout {
    pub filters: Filters,
    pub truncate: Truncate,
    pub now: Timestamp,
}

impl Layout {
    /// Those that pass, by service and slot: first what is wanted there, then what was, the newest first. A task that was
    /// found twice, by two names of its service, is there once.
    #[must_use]
    pub fn select<'a>(&self, tasks: &'a [Task], nodes: &[Node]) -> Vec<&'a Task> {
        let hostnames = hostnames(nodes);
        let mut tasks: Vec<&Task> = tasks.iter().filter(|task| self.passes(task, &hostnames)).collect();
        tasks.sort_by_key(|task| {
            let is_past = task.desired > DesiredState::Running;
            (&task.service_name, &task.service_id, task.slot, is_past, Reverse((task.created_at, &task.id)))
        });
        tasks.dedup_by_key(|task| &task.id);
        tasks
    }

    /// All but the first of a slot stand under it with `\_`.
    #[must_use]
    pub fn list(&self, tasks: &[Task], nodes: &[Node]) -> List {
        let hostnames = hostnames(nodes);
        let mut above: Option<(&str, Slot)> = None;
        let rows = self.select(tasks, nodes).into_iter().map(|task| {
            let place = (task.service_id.as_str(), task.slot);
            let indent = if above.replace(place) == Some(place) { r" \_ " } else { "" };
            self.row(task, indent, &hostnames)
        });
        List { columns: COLUMNS, rows: rows.collect() }
    }

    fn passes(&self, task: &Task, hostnames: &BTreeMap<&str, &str>) -> bool {
        let node = task.node_id.as_deref().unwrap_or_default();
        let hostname = hostnames.get(node).copied().unwrap_or_default();
        let is_node = |asked: &str| !node.is_empty() && (hostname == asked || node.starts_with(asked));
        self.filters.any("name", |name| task.name().starts_with(name))
            && self.filters.any("id", |id| task.id.starts_with(id))
            && self.filters.any("node", is_node)
            && self.filters.any("desired-state", |text| desired_named(text) == Some(task.desired))
    }

    fn row(&self, task: &Task, indent: &str, hostnames: &BTreeMap<&str, &str>) -> Vec<String> {
        let node = task.node_id.as_deref().unwrap_or_default();
        let evidence = task.status.evidence.as_deref();
        vec![
            self.truncate.id(&task.id),
            format!("{indent}{}", task.name()),
            self.truncate.image(&task.spec.container.image),
            hostnames.get(node).copied().unwrap_or(node).to_owned(),
            task.desired.to_string(),
            format!("{} {}", task.status.state, ago(task.status.at, self.now)),
            trouble(task).map_or_else(String::new, |trouble| format!("\"{trouble}\"")),
            show::ports(&task.host_ports),
            task.status.exit_code.map_or_else(String::new, |code| code.to_string()),
            evidence.map_or_else(String::new, |left| left.oom_killed.to_string()),
            evidence.and_then(|left| left.health.clone()).unwrap_or_default(),
            evidence.map_or_else(String::new, |left| left.log_tail.join("\n")),
        ]
    }
}

fn hostnames(nodes: &[Node]) -> BTreeMap<&str, &str> {
    nodes.iter().map(|node| (node.id.as_str(), node.hostname())).collect()
}

/// Of one that failed with its exit code, whatever its error is.
fn trouble(task: &Task) -> Option<String> {
    let exit_code = task.status.exit_code.filter(|_| task.status.state.is_failure());
    let trouble = evidence::error(task.trouble().unwrap_or_default(), exit_code);
    Some(trouble).filter(|trouble| !trouble.is_empty())
}

fn desired_named(text: &str) -> Option<DesiredState> {
    let all = [DesiredState::Ready, DesiredState::Running, DesiredState::Shutdown, DesiredState::Remove];
    all.into_iter().find(|state| state.to_string().eq_ignore_ascii_case(text))
}
