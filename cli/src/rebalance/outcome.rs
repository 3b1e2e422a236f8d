//! What becomes of a task that is to move, read from its service's tasks. Pure.

use muster_proto::task::Slot;

use crate::object::Task;

#[derive(Clone, Debug)]
pub(super) struct Relocation {
    pub(super) task_id: String,
    pub(super) service_id: String,
    pub(super) service_name: String,
    pub(super) slot: Slot,
    /// Hostnames.
    pub(super) from: String,
    pub(super) to: String,
    pub(super) to_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Waits(String),
    Underway(String),
    Moved,
    /// And why.
    Stayed(String),
}

impl Stage {
    pub(super) fn is_over(&self) -> bool {
        match self {
            Stage::Moved | Stage::Stayed(_) => true,
            Stage::Waits(_) | Stage::Underway(_) => false,
        }
    }
}

impl Relocation {
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.service_name, self.slot)
    }

    /// `tasks` holds all of the service's.
    pub(super) fn stage(&self, tasks: &[Task]) -> Stage {
        let own = tasks.iter().find(|task| task.id == self.task_id);
        let born = own.map(|task| task.created_at);
        let in_place = tasks.iter().filter(|task| {
            task.service_id == self.service_id
                && task.slot == self.slot
                && task.id != self.task_id
                && task.node_id.as_deref() == Some(self.to_id.as_str())
                && born.is_none_or(|born| task.created_at >= born)
        });
        let newest = in_place.max_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        let serves_there = newest.is_some_and(Task::is_serving);
        let Some(own) = own.filter(|task| task.is_active()) else {
            return match newest {
                Some(_) if serves_there => Stage::Moved,
                Some(next) if next.is_active() => Stage::Underway(underway(next)),
                Some(_) | None => Stage::Stayed("it ended before it had moved".to_owned()),
            };
        };
        let Some(_) = own.moves_to.as_deref() else {
            return Stage::Stayed(match newest.filter(|next| !next.is_active()) {
                Some(next) if next.status.state.is_failure() => {
                    format!("its replacement failed: {}", next.failure())
                }
                Some(_) | None => {
                    "the move was given up, for its node or service has changed or there is no room any more".to_owned()
                }
            });
        };
        match (newest.filter(|next| next.is_active()), &own.waiting) {
            (Some(next), _) => Stage::Underway(underway(next)),
            (None, Some(waiting)) => Stage::Waits(waiting.clone()),
            (None, None) => Stage::Underway("its replacement is to be made".to_owned()),
        }
    }
}

fn underway(next: &Task) -> String {
    format!("its replacement is {}", next.status.state.to_string().to_lowercase())
}
