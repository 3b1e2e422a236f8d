//! The state as it is stored and sent: rows without what can be derived, each distinct template once.
//!
//! Called by the shell's state machine, which picks the encoding and adds the checksum (a digest of the encoded form
//! is a digest of the state: the rows are ordered and hold no addresses of memory). Making one copies no rows: each is
//! put into the form that is written when its turn comes. Reading checks that every
//! reference leads somewhere and answers with an error where one does not: a damaged snapshot must not become a
//! state that panics later.

use std::{collections::BTreeMap, sync::Arc};

use muster_proto::{
    cluster::Cluster,
    endpoint::PortConfig,
    id::{NodeId, ServiceId, TaskId},
    node::Node,
    restart::RestartRecord,
    rollout::Rollout,
    service::{PreviousSpec, Service, ServiceSpec},
    task::{Slot, Task, TaskStatus, Template},
    task_state::DesiredState,
    time::Timestamp,
    trust::{CertificateAuthority, Tokens},
    version::{Fence, TemplateVersion, Version},
    waiting::WaitingOn,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{State, requests};
use crate::command::{LogPosition, SEVERAL_MANAGERS};

/// Counted up when a manager of the version before could not read it, and with the log's format then: a leader sends its
/// snapshots to managers of the version before too.
pub const SNAPSHOT_FORMAT: u16 = 2;

/// One manager.
const FIRST: u16 = 1;

/// The one that all managers read.
fn format(state: &State) -> u16 {
    if state.log_format() < SEVERAL_MANAGERS { FIRST } else { SNAPSHOT_FORMAT }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("the snapshot has format {found}, this version reads up to {SNAPSHOT_FORMAT}; start a newer muster")]
    Format { found: u16 },
    #[error("the snapshot names template {0}, which is not in it")]
    NoTemplate(TemplateVersion),
    #[error("the snapshot has a task on node {0}, which is not in it")]
    NoNode(NodeId),
    #[error("the snapshot has two rows with the id {0}")]
    Twice(String),
    #[error("the snapshot has two services named {0}")]
    NameTwice(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    format: u16,
    applied: LogPosition,
    #[serde(default)]
    stamped: Timestamp,
    cluster: Option<Cluster>,
    templates: BTreeMap<TemplateVersion, Arc<Template>>,
    nodes: Vec<Node>,
    services: Rows<Service, ServiceRow>,
    tasks: Rows<Task, TaskRow>,
    #[serde(default)]
    authority: Option<CertificateAuthority>,
    #[serde(default)]
    tokens: Tokens,
    #[serde(default)]
    removed_nodes: BTreeMap<NodeId, Timestamp>,
    #[serde(default)]
    requests: requests::Rows,
}

/// A table: of the state that is written, or as it was read.
#[derive(Clone, Debug, PartialEq)]
enum Rows<T, R> {
    Held(Vec<Arc<T>>),
    Read(Vec<R>),
}

impl<T, R: Serialize + for<'a> From<&'a T>> Serialize for Rows<T, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Rows::Held(rows) => serializer.collect_seq(rows.iter().map(|row| R::from(row))),
            Rows::Read(rows) => serializer.collect_seq(rows),
        }
    }
}

impl<'de, T, R: Deserialize<'de>> Deserialize<'de> for Rows<T, R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Rows::Read)
    }
}

impl<T, R> Rows<T, R> {
    fn into_rows<E>(self, read: impl Fn(R) -> Result<T, E>) -> impl Iterator<Item = Result<Arc<T>, E>> {
        let (held, rows) = match self {
            Rows::Held(held) => (held, Vec::new()),
            Rows::Read(rows) => (Vec::new(), rows),
        };
        held.into_iter().map(Ok).chain(rows.into_iter().map(move |row| read(row).map(Arc::new)))
    }
}

/// A [`Service`] with its templates by number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct ServiceRow {
    id: ServiceId,
    version: Version,
    created_at: Timestamp,
    updated_at: Timestamp,
    spec: ServiceSpec,
    template_version: TemplateVersion,
    previous: Option<(Box<ServiceSpec>, TemplateVersion)>,
    ports: Vec<PortConfig>,
    rollout: Option<Box<Rollout>>,
}

/// A [`Task`] with its template by number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct TaskRow {
    id: TaskId,
    version: Version,
    created_at: Timestamp,
    service_id: ServiceId,
    service_name: String,
    slot: Slot,
    template_version: TemplateVersion,
    node_id: Option<NodeId>,
    fence: Fence,
    desired: DesiredState,
    status: TaskStatus,
    start_after: Option<Timestamp>,
    restarts: RestartRecord,
    waiting: Option<WaitingOn>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moves_to: Option<NodeId>,
}

impl Snapshot {
    #[must_use]
    pub fn of(state: &State) -> Self {
        let of_tasks = state.tasks().map(|task| (task.template_version, &task.template));
        let of_services = state.services().flat_map(|service| {
            let before = service.previous.iter().map(|before| (before.template_version, &before.template));
            before.chain([(service.template_version, &service.template)])
        });
        let templates = of_tasks.chain(of_services).map(|(version, template)| (version, Arc::clone(template)));
        Self {
            format: format(state),
            applied: state.applied,
            stamped: state.stamped,
            cluster: state.cluster.clone(),
            templates: templates.collect(),
            nodes: state.nodes.values().cloned().collect(),
            services: Rows::Held(state.services.values().cloned().collect()),
            tasks: Rows::Held(state.tasks.values().cloned().collect()),
            authority: state.authority.clone(),
            tokens: state.tokens.clone(),
            removed_nodes: state.removed_nodes.clone(),
            requests: (&state.requests).into(),
        }
    }

    /// The last entry that is in it.
    #[must_use]
    pub fn applied(&self) -> LogPosition {
        self.applied
    }

    pub fn into_state(self) -> Result<State, SnapshotError> {
        if self.format > SNAPSHOT_FORMAT {
            return Err(SnapshotError::Format { found: self.format });
        }
        let mut state = State {
            applied: self.applied,
            stamped: self.stamped,
            cluster: self.cluster,
            authority: self.authority,
            tokens: self.tokens,
            removed_nodes: self.removed_nodes,
            requests: self.requests.into(),
            ..State::default()
        };
        for node in self.nodes {
            let id = node.id;
            if state.nodes.insert(id, node).is_some() {
                return Err(SnapshotError::Twice(id.to_string()));
            }
        }
        for service in self.services.into_rows(|row| row.into_service(&self.templates)) {
            let service = service?;
            if state.services.contains_key(&service.id) {
                return Err(SnapshotError::Twice(service.id.to_string()));
            }
            if state.service_named(&service.spec.name).is_some() {
                return Err(SnapshotError::NameTwice(service.spec.name.clone()));
            }
            state.put_service(service);
        }
        for task in self.tasks.into_rows(|row| row.into_task(&self.templates)) {
            let task = task?;
            if state.tasks.contains_key(&task.id) {
                return Err(SnapshotError::Twice(task.id.to_string()));
            }
            // The node of a task that ended may have been removed since.
            let ended = task.status.state.is_final();
            if let Some(node) = task.node_id.filter(|id| !ended && !state.nodes.contains_key(id)) {
                return Err(SnapshotError::NoNode(node));
            }
            state.insert_task(task);
        }
        Ok(state)
    }
}

type Templates = BTreeMap<TemplateVersion, Arc<Template>>;

fn look_up(templates: &Templates, version: TemplateVersion) -> Result<Arc<Template>, SnapshotError> {
    templates.get(&version).cloned().ok_or(SnapshotError::NoTemplate(version))
}

impl From<&Service> for ServiceRow {
    fn from(service: &Service) -> Self {
        let Service {
            id,
            version,
            created_at,
            updated_at,
            spec,
            template: _,
            template_version,
            previous,
            ports,
            rollout,
        } = service.clone();
        let previous = previous.map(|before| (Box::new(before.spec.clone()), before.template_version));
        Self { id, version, created_at, updated_at, spec, template_version, previous, ports, rollout }
    }
}

impl From<&Task> for TaskRow {
    fn from(task: &Task) -> Self {
        let Task {
            id,
            version,
            created_at,
            service_id,
            service_name,
            slot,
            template_version,
            template: _,
            node_id,
            fence,
            desired,
            status,
            start_after,
            restarts,
            waiting,
            moves_to,
        } = task.clone();
        Self {
            id,
            version,
            created_at,
            service_id,
            service_name,
            slot,
            template_version,
            node_id,
            fence,
            desired,
            status,
            start_after,
            restarts,
            waiting,
            moves_to,
        }
    }
}

impl ServiceRow {
    fn into_service(self, templates: &Templates) -> Result<Service, SnapshotError> {
        let Self { id, version, created_at, updated_at, spec, template_version, previous, ports, rollout } = self;
        let template = look_up(templates, template_version)?;
        let previous = match previous {
            None => None,
            Some((spec, template_version)) => {
                let template = look_up(templates, template_version)?;
                Some(Arc::new(PreviousSpec { spec: *spec, template, template_version }))
            }
        };
        Ok(Service { id, version, created_at, updated_at, spec, template, template_version, previous, ports, rollout })
    }
}

impl TaskRow {
    fn into_task(self, templates: &Templates) -> Result<Task, SnapshotError> {
        let Self {
            id,
            version,
            created_at,
            service_id,
            service_name,
            slot,
            template_version,
            node_id,
            fence,
            desired,
            status,
            start_after,
            restarts,
            waiting,
            moves_to,
        } = self;
        Ok(Task {
            id,
            version,
            created_at,
            service_id,
            service_name,
            slot,
            template_version,
            template: look_up(templates, template_version)?,
            node_id,
            fence,
            desired,
            status,
            start_after,
            restarts,
            waiting,
            moves_to,
        })
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::{node::Role, version::RaftId};

    use super::*;
    use crate::plan::schedule::fixture;

    fn snapshot() -> Snapshot {
        let (node, service) = (fixture::node(1), fixture::service(1));
        let tasks = [fixture::task(1, &service, 1, &node), fixture::task(2, &service, 2, &node)];
        let (mut state, _) = fixture::cluster([node], tasks);
        state.put_service(service);
        let bytes = rmp_serde::to_vec_named(&Snapshot::of(&state)).expect("a state can be written");
        rmp_serde::from_slice(&bytes).expect("and read")
    }

    fn read<T, R>(rows: &mut Rows<T, R>) -> &mut Vec<R> {
        match rows {
            Rows::Read(rows) => rows,
            Rows::Held(_) => panic!("it was read"),
        }
    }

    fn twice<T, R: Clone>(rows: &mut Rows<T, R>) {
        let rows = read(rows);
        rows.push(rows[0].clone());
    }

    #[test]
    fn a_template_is_stored_once_and_shared_again() {
        let snapshot = snapshot();
        assert_eq!(snapshot.templates.len(), 1);
        let state = snapshot.into_state().expect("a whole snapshot");
        let service = state.services().next().expect("a service");
        assert!(state.tasks().all(|task| Arc::ptr_eq(&task.template, &service.template)));
    }

    #[test]
    fn a_snapshot_is_of_the_format_that_all_managers_read() {
        let mut node = fixture::node(1);
        (node.spec.role, node.raft_id) = (Role::Manager, Some(RaftId(1)));
        for (reads, written) in [(1, 1), (SEVERAL_MANAGERS, SNAPSHOT_FORMAT)] {
            node.log_format = reads;
            let (state, _) = fixture::cluster([node.clone()], []);
            assert_eq!(Snapshot::of(&state).format, written);
        }
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let refused = |damage: fn(&mut Snapshot)| {
            let mut snapshot = snapshot();
            damage(&mut snapshot);
            snapshot.into_state().expect_err("it is damaged").to_string()
        };
        let newer = refused(|s| s.format += 1);
        assert!(newer.contains("start a newer muster"), "{newer}");
        assert!(refused(|s| s.templates.clear()).contains("template 1"));
        assert!(refused(|s| s.nodes.clear()).contains("node 0000000000000000000000001"));
        assert!(refused(|s| twice(&mut s.tasks)).contains("two rows"));
        assert!(refused(|s| s.nodes.push(s.nodes[0].clone())).contains("two rows"));
        assert!(refused(|s| twice(&mut s.services)).contains("two rows"));
        let twins = |s: &mut Snapshot| {
            let services = read(&mut s.services);
            let twin = ServiceRow { id: ServiceId::from_bits(9), ..services[0].clone() };
            services.push(twin);
        };
        assert!(refused(twins).contains("named service-1"));
    }
}
