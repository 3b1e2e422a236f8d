//! Ids of new tasks, drawn at random.

use muster_core::plan::IdSource;
use muster_proto::id::TaskId;
use rand::Rng;

#[derive(Clone, Copy, Debug)]
pub(super) struct RandomIds;

impl IdSource for RandomIds {
    fn task_id(&mut self) -> TaskId {
        TaskId::from_bits(rand::rng().random())
    }
}
