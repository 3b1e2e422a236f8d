//! What a user means by a name, an id or the beginning of an id. Pure.

use muster_core::{rejection::Rejection, state::State};
use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    node::Node,
    service::Service,
    task::Task,
    v1,
};
use tonic::Status;

use crate::status;

/// Of the candidates, so that the sentence stays one.
const CANDIDATES_SHOWN_MAX: usize = 5;

/// How the objects of one kind are spoken of.
struct Kind {
    name: &'static str,
    /// The command that lists them.
    list: &'static str,
}

const SERVICE: Kind = Kind { name: "service", list: "muster service ls" };
const NODE: Kind = Kind { name: "node", list: "muster node ls" };

pub(super) fn service<'a>(state: &'a State, wanted: &str) -> Result<&'a Service, Status> {
    if let Some(named) = state.service_named(wanted) {
        return Ok(named);
    }
    if let Some(whole) = wanted.parse().ok().and_then(|id| state.service(id)) {
        return Ok(whole);
    }
    let by_id = state.services().map(|service| (service.id.to_string(), service.spec.name.as_str(), service));
    by_prefix(&SERVICE, wanted, by_id)
}

/// Also a service that has been removed and still has tasks, by its whole id.
pub(super) fn service_or_remains(state: &State, wanted: &str) -> Result<ServiceId, Status> {
    service(state, wanted).map(|service| service.id).or_else(|refused| match wanted.parse::<ServiceId>() {
        Ok(id) if state.tasks_of_service(id).next().is_some() => Ok(id),
        Ok(_) | Err(_) => Err(refused),
    })
}

pub(super) fn node<'a>(state: &'a State, wanted: &str) -> Result<&'a Node, Status> {
    let named = state.nodes().filter(|node| hostname(node) == wanted && !wanted.is_empty());
    let named: Vec<_> = named.map(|node| (node.id.to_string(), hostname(node), node)).collect();
    if !named.is_empty() {
        return only(&NODE, wanted, named);
    }
    by_prefix(&NODE, wanted, state.nodes().map(|node| (node.id.to_string(), hostname(node), node)))
}

/// The node with exactly this id.
pub(super) fn member(state: &State, id: NodeId) -> Result<&Node, Status> {
    state.node(id).ok_or_else(|| status::rejected(&Rejection::NoSuchNode(id)))
}

/// As a sentence calls it: by its hostname, where it has said it.
pub(super) fn name(node: &Node) -> String {
    match hostname(node) {
        "" => node.id.to_string(),
        hostname => hostname.to_owned(),
    }
}

fn hostname(node: &Node) -> &str {
    node.description.as_ref().map_or("", |description| &description.hostname)
}

/// Whose logs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogScope {
    pub(crate) service: ServiceId,
    /// Only this one of its tasks.
    pub(crate) task: Option<TaskId>,
}

impl LogScope {
    pub(crate) fn tasks<'a>(&self, state: &'a State) -> impl Iterator<Item = &'a Task> {
        let only = self.task;
        state.tasks_of_service(self.service).filter(move |task| only.is_none_or(|id| id == task.id))
    }
}

pub(super) fn log_scope(state: &State, wanted: &v1::ServiceLogsRequest) -> Result<LogScope, Status> {
    let service = service_or_remains(state, &wanted.service_id)?;
    if wanted.task_id.is_empty() {
        return Ok(LogScope { service, task: None });
    }
    let task = wanted.task_id.parse::<TaskId>().ok().and_then(|id| state.task(id));
    match task.filter(|task| task.service_id == service) {
        Some(task) => Ok(LogScope { service, task: Some(task.id) }),
        None => Err(Status::not_found(format!(
            "no task {:?} in this service; `muster service ps` lists its tasks",
            wanted.task_id
        ))),
    }
}

pub(super) fn node_id(state: &State, wanted: &str) -> Result<NodeId, Status> {
    node(state, wanted).map(|node| node.id)
}

fn by_prefix<'a, T>(
    kind: &Kind,
    wanted: &str,
    all: impl Iterator<Item = (String, &'a str, &'a T)>,
) -> Result<&'a T, Status> {
    if wanted.is_empty() {
        let Kind { name, list } = kind;
        return Err(Status::invalid_argument(format!("no {name} was named; `{list}` lists them")));
    }
    // Ids have one length, so a whole one is the prefix of itself alone.
    only(kind, wanted, all.filter(|(id, ..)| id.starts_with(wanted)).collect())
}

/// The one that is left, or why it cannot be told.
fn only<'a, T>(kind: &Kind, wanted: &str, found: Vec<(String, &str, &'a T)>) -> Result<&'a T, Status> {
    let Kind { name, list } = kind;
    match found.as_slice() {
        [] => Err(Status::not_found(format!("no {name} {wanted:?}; `{list}` lists them"))),
        [(_, _, one)] => Ok(one),
        many => {
            let shown: Vec<String> =
                many.iter().take(CANDIDATES_SHOWN_MAX).map(|(id, label, _)| format!("{id} ({label})")).collect();
            let more = match many.len().saturating_sub(CANDIDATES_SHOWN_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Err(Status::invalid_argument(format!(
                "{wanted:?} can mean {} {name}s: {}{more}; write more of the id",
                many.len(),
                shown.join(", "),
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Thing;

    fn find(wanted: &str, ids: &[&str]) -> String {
        let things = ids.iter().map(|id| ((*id).to_owned(), "web", &Thing));
        match by_prefix(&SERVICE, wanted, things) {
            Ok(Thing) => "found".to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        }
    }

    #[test]
    fn a_prefix_that_only_one_has_is_enough() {
        assert_eq!(find("ab", &["abc", "bcd"]), "found");
        assert_eq!(find("abc", &["abc", "bcd"]), "found");
    }

    #[test]
    fn refusals_say_what_to_do() {
        let refusals = [
            find("x", &["abc"]),
            find("", &["abc"]),
            find("ab", &["abc", "abd", "bcd"]),
            find("a", &["aa", "ab", "ac", "ad", "ae", "af", "ag"]),
        ];
        expect_test::expect![[r#"
            NotFound: no service "x"; `muster service ls` lists them
            InvalidArgument: no service was named; `muster service ls` lists them
            InvalidArgument: "ab" can mean 2 services: abc (web), abd (web); write more of the id
            InvalidArgument: "a" can mean 7 services: aa (web), ab (web), ac (web), ad (web), ae (web) and 2 more; write more of the id"#]]
        .assert_eq(&refusals.join("\n"));
    }
}
