//! The replicated state: tables in memory, changed only by [`crate::apply`].
//!
//! Invariant: the indexes follow the tables. Every write goes through [`tables`], which keeps them so. Copies share their
//! rows: one costs little, and changes of the original do not reach it.

mod requests;
pub mod snapshot;
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use muster_proto::{
    cluster::Cluster,
    id::{NodeId, RequestId, ServiceId, TaskId},
    node::Node,
    service::Service,
    task::{Slot, Task},
    time::Timestamp,
    trust::{CertificateAuthority, Tokens},
    version::{RaftId, Version},
};

pub(crate) use self::requests::Requests;
use crate::command::{LOG_FORMAT, LogPosition, Outcome};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The last entry that was applied.
    pub(crate) applied: LogPosition,
    /// When that was: what the leader stamped it with.
    pub(crate) stamped: Timestamp,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) services: BTreeMap<ServiceId, Arc<Service>>,
    pub(crate) tasks: BTreeMap<TaskId, Arc<Task>>,
    pub(crate) authority: Option<CertificateAuthority>,
    pub(crate) tokens: Tokens,
    /// Nodes that were members, until the last certificate of each has run out for good.
    pub(crate) removed_nodes: BTreeMap<NodeId, Timestamp>,
    pub(crate) requests: Requests,
    // Derived, rebuilt from the tables when a snapshot is read.
    pub(crate) services_by_name: BTreeMap<String, ServiceId>,
    pub(crate) tasks_by_service: BTreeMap<ServiceId, BTreeSet<(Slot, TaskId)>>,
    pub(crate) tasks_by_node: BTreeMap<NodeId, BTreeSet<TaskId>>,
    pub(crate) tasks_without_node: BTreeSet<TaskId>,
    pub(crate) moving_tasks: BTreeSet<TaskId>,
}

impl State {
    #[must_use]
    pub fn applied(&self) -> LogPosition {
        self.applied
    }

    /// The state's own time, which only its entries move on.
    #[must_use]
    pub fn stamped(&self) -> Timestamp {
        self.stamped
    }

    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// In order of id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Nodes whose role is manager, in order of id.
    pub fn managers(&self) -> impl Iterator<Item = &Node> {
        self.nodes().filter(|node| node.raft_id.is_some())
    }

    /// Whether the node was a member and is none any more.
    #[must_use]
    pub fn was_removed(&self, id: NodeId) -> bool {
        self.removed_nodes.contains_key(&id)
    }

    /// Those of which that is remembered, in order of id.
    pub fn removed(&self) -> impl Iterator<Item = NodeId> {
        self.removed_nodes.keys().copied()
    }

    /// Whether this Raft id was taken back: its manager was demoted, removed or lost its store. An id that this copy of
    /// the state has not heard of is not: the copy may lag behind.
    #[must_use]
    pub fn is_retired(&self, id: RaftId) -> bool {
        let given = self.cluster.as_ref().is_some_and(|cluster| id < cluster.next_raft_id);
        given && !self.managers().any(|node| node.raft_id == Some(id))
    }

    #[must_use]
    pub fn authority(&self) -> Option<&CertificateAuthority> {
        self.authority.as_ref()
    }

    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The newest log format that every manager reads, and which commands may be used with it.
    #[must_use]
    pub fn log_format(&self) -> u16 {
        self.managers().map(|node| node.log_format).min().unwrap_or(LOG_FORMAT)
    }

    /// The manager that keeps the cluster at [`State::log_format`].
    #[must_use]
    pub fn oldest_manager(&self) -> Option<&Node> {
        self.managers().min_by_key(|node| node.log_format)
    }

    /// What became of this request, if it was made not long ago.
    #[must_use]
    pub fn first_outcome(&self, id: RequestId) -> Option<&Outcome> {
        self.requests.outcome(id)
    }

    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(&id).map(Arc::as_ref)
    }

    #[must_use]
    pub fn service_named(&self, name: &str) -> Option<&Service> {
        self.services_by_name.get(name).and_then(|id| self.service(*id))
    }

    /// In order of id.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values().map(Arc::as_ref)
    }

    /// Of services and of those removed ones that still have tasks.
    pub fn service_ids(&self) -> impl Iterator<Item = ServiceId> {
        self.services.keys().chain(self.tasks_by_service.keys()).copied()
    }

    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id).map(Arc::as_ref)
    }

    /// In order of id.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().map(Arc::as_ref)
    }

    /// In order of slot, then id; also tasks of a service that has been removed.
    pub fn tasks_of_service(&self, id: ServiceId) -> impl Iterator<Item = &Task> {
        self.tasks_by_service.get(&id).into_iter().flatten().filter_map(|(_, task)| self.task(*task))
    }

    /// In order of id.
    pub fn tasks_of_slot(&self, id: ServiceId, slot: Slot) -> impl Iterator<Item = &Task> {
        let range = (slot, TaskId::from_bits(0))..=(slot, TaskId::from_bits(u128::MAX));
        let rows = self.tasks_by_service.get(&id).into_iter().flat_map(move |rows| rows.range(range.clone()));
        rows.filter_map(|(_, task)| self.task(*task))
    }

    /// The highest version among a slot's tasks: it grows whenever one of them changes. Zero where there is none.
    #[must_use]
    pub fn slot_version(&self, id: ServiceId, slot: Slot) -> Version {
        self.tasks_of_slot(id, slot).map(|task| task.version).max().unwrap_or_default()
    }

    /// In order of id.
    pub fn tasks_of_node(&self, id: NodeId) -> impl Iterator<Item = &Task> {
        self.tasks_by_node.get(&id).into_iter().flatten().filter_map(|task| self.task(*task))
    }

    /// In order of id, whatever is desired of them.
    pub fn tasks_without_node(&self) -> impl Iterator<Item = &Task> {
        self.tasks_without_node.iter().filter_map(|task| self.task(*task))
    }

    /// Those that a rebalance is to move, in order of id, whatever is desired of them.
    pub fn moving_tasks(&self) -> impl Iterator<Item = &Task> {
        self.moving_tasks.iter().filter_map(|task| self.task(*task))
    }
}
