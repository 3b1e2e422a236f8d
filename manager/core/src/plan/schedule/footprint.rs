//! What one task counts as, on its node and in its service.

use std::sync::Arc;

use muster_proto::{
    id::{NodeId, ServiceId},
    task::{Slot, Task, Template},
};

#[derive(Clone, Debug)]
pub(super) struct Footprint {
    pub service: ServiceId,
    pub slot: Slot,
    pub node: NodeId,
    /// Its reservations and host ports are held as long as there is a footprint at all.
    pub template: Arc<Template>,
    /// Wanted to run; otherwise it is on its way out.
    pub active: bool,
}

impl Footprint {
    /// None: it has no node yet, or has ended.
    pub(super) fn of(task: &Task) -> Option<Self> {
        let node = task.node_id.filter(|_| task.holds_resources())?;
        Some(Self {
            service: task.service_id,
            slot: task.slot,
            node,
            template: Arc::clone(&task.template),
            active: task.is_active(),
        })
    }
}
