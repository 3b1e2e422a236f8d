//! The only writes to the tables. Each keeps the indexes true; none of them decides anything. A row is never changed in
//! place: copies of the state share it.

use std::sync::Arc;

use muster_proto::{
    id::{ServiceId, TaskId},
    service::Service,
    task::Task,
};

use super::State;

impl State {
    pub(crate) fn put_service(&mut self, service: impl Into<Arc<Service>>) {
        let service = service.into();
        if let Some(earlier) = self.services.get(&service.id) {
            self.services_by_name.remove(&earlier.spec.name);
        }
        self.services_by_name.insert(service.spec.name.clone(), service.id);
        self.services.insert(service.id, service);
    }

    pub(crate) fn remove_service(&mut self, id: ServiceId) -> Option<Arc<Service>> {
        let service = self.services.remove(&id)?;
        self.services_by_name.remove(&service.spec.name);
        Some(service)
    }

    pub(crate) fn insert_task(&mut self, task: impl Into<Arc<Task>>) {
        let task = task.into();
        self.remove_task(task.id);
        self.tasks_by_service.entry(task.service_id).or_default().insert((task.slot, task.id));
        self.index_node(&task);
        self.tasks.insert(task.id, task);
    }

    pub(crate) fn remove_task(&mut self, id: TaskId) -> Option<Arc<Task>> {
        let task = self.tasks.remove(&id)?;
        self.unindex_node(&task);
        if let Some(rows) = self.tasks_by_service.get_mut(&task.service_id) {
            rows.remove(&(task.slot, id));
            if rows.is_empty() {
                self.tasks_by_service.remove(&task.service_id);
            }
        }
        Some(task)
    }

    /// Puts a changed row in the place of one; its service and slot stay what they are. None: there is no such row.
    pub(crate) fn edit_task(&mut self, id: TaskId, edit: impl FnOnce(&mut Task)) -> Option<(Arc<Task>, Arc<Task>)> {
        let before = self.tasks.get(&id)?.clone();
        let mut after = Task::clone(&before);
        edit(&mut after);
        (after.id, after.service_id, after.slot) = (before.id, before.service_id, before.slot);
        self.unindex_node(&before);
        self.index_node(&after);
        let after = Arc::new(after);
        self.tasks.insert(id, after.clone());
        Some((before, after))
    }

    fn index_node(&mut self, task: &Task) {
        if task.moves_to.is_some() {
            self.moving_tasks.insert(task.id);
        }
        match task.node_id {
            Some(node) => self.tasks_by_node.entry(node).or_default().insert(task.id),
            None => self.tasks_without_node.insert(task.id),
        };
    }

    fn unindex_node(&mut self, task: &Task) {
        self.moving_tasks.remove(&task.id);
        let Some(node) = task.node_id else {
            self.tasks_without_node.remove(&task.id);
            return;
        };
        if let Some(rows) = self.tasks_by_node.get_mut(&node) {
            rows.remove(&task.id);
            if rows.is_empty() {
                self.tasks_by_node.remove(&node);
            }
        }
    }
}
