//! Ids of new tasks, drawn at random.

use std::sync::Arc;

use muster_core::plan::IdSource;
use muster_proto::id::TaskId;

use crate::outside::Random;

#[derive(Clone, Debug)]
pub(super) struct RandomIds(pub(super) Arc<dyn Random>);

impl IdSource for RandomIds {
    fn task_id(&mut self) -> TaskId {
        TaskId::from_bits(self.0.wide_bits())
    }
}
