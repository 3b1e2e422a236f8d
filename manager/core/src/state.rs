//! The replicated state: tables in memory, changed only by [`crate::apply`].
//!
//! Invariant: the indexes follow the tables. Every write goes through [`tables`], which keeps them so.

pub mod snapshot;
mod tables;

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    cluster::Cluster,
    id::{NodeId, ServiceId, TaskId},
    node::Node,
    service::Service,
    task::{Slot, Task},
    version::Version,
};

use crate::command::LogPosition;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The last entry that was applied.
    pub(crate) applied: LogPosition,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) services: BTreeMap<ServiceId, Service>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    // Derived, rebuilt from the tables when a snapshot is read.
    pub(crate) services_by_name: BTreeMap<String, ServiceId>,
    pub(crate) tasks_by_service: BTreeMap<ServiceId, BTreeSet<(Slot, TaskId)>>,
    pub(crate) tasks_by_node: BTreeMap<NodeId, BTreeSet<TaskId>>,
    pub(crate) tasks_without_node: BTreeSet<TaskId>,
}

impl State {
    #[must_use]
    pub fn applied(&self) -> LogPosition {
        self.applied
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

    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(&id)
    }

    #[must_use]
    pub fn service_named(&self, name: &str) -> Option<&Service> {
        self.services_by_name.get(name).and_then(|id| self.services.get(id))
    }

    /// In order of id.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// Of services and of those removed ones that still have tasks.
    pub fn service_ids(&self) -> impl Iterator<Item = ServiceId> {
        self.services.keys().chain(self.tasks_by_service.keys()).copied()
    }

    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id)
    }

    /// In order of id.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values()
    }

    /// In order of slot, then id; also tasks of a service that has been removed.
    pub fn tasks_of_service(&self, id: ServiceId) -> impl Iterator<Item = &Task> {
        self.tasks_by_service.get(&id).into_iter().flatten().filter_map(|(_, task)| self.tasks.get(task))
    }

    /// In order of id.
    pub fn tasks_of_slot(&self, id: ServiceId, slot: Slot) -> impl Iterator<Item = &Task> {
        let range = (slot, TaskId::from_bits(0))..=(slot, TaskId::from_bits(u128::MAX));
        let rows = self.tasks_by_service.get(&id).into_iter().flat_map(move |rows| rows.range(range.clone()));
        rows.filter_map(|(_, task)| self.tasks.get(task))
    }

    /// The highest version among a slot's tasks: it grows whenever one of them changes. Zero where there is none.
    #[must_use]
    pub fn slot_version(&self, id: ServiceId, slot: Slot) -> Version {
        self.tasks_of_slot(id, slot).map(|task| task.version).max().unwrap_or_default()
    }

    /// In order of id.
    pub fn tasks_of_node(&self, id: NodeId) -> impl Iterator<Item = &Task> {
        self.tasks_by_node.get(&id).into_iter().flatten().filter_map(|task| self.tasks.get(task))
    }

    /// In order of id, whatever is desired of them.
    pub fn tasks_without_node(&self) -> impl Iterator<Item = &Task> {
        self.tasks_without_node.iter().filter_map(|task| self.tasks.get(task))
    }
}
