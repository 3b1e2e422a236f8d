//! What managers have not confirmed yet: for each task the last status, which says all the earlier ones did, as a
//! status only grows and keeps what it gathered. So the outbox is bounded by the number of tasks, whatever happens.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_proto::{assignment::TaskReport, id::TaskId};
use tokio::sync::Notify;

/// In one message. A report with full evidence takes about 8 KiB, so that a batch stays well under
/// [`muster_proto::assignment::AGENT_MESSAGE_BYTES_MAX`].
pub(super) const BATCH_MAX: usize = 256;

#[derive(Debug)]
struct Entry {
    report: TaskReport,
    /// The message that carried it in the present session; None when it has yet to be sent.
    sent: Option<u64>,
}

#[derive(Debug, Default)]
struct Unacked {
    entries: BTreeMap<TaskId, Entry>,
}

impl Unacked {
    fn put(&mut self, report: TaskReport) {
        self.entries.insert(report.task_id, Entry { report, sent: None });
    }

    fn take(&mut self, sequence: u64) -> Vec<TaskReport> {
        let unsent = self.entries.values_mut().filter(|entry| entry.sent.is_none()).take(BATCH_MAX);
        unsent
            .map(|entry| {
                entry.sent = Some(sequence);
                entry.report.clone()
            })
            .collect()
    }

    fn ack(&mut self, sequence: u64) {
        self.entries.retain(|_, entry| entry.sent != Some(sequence));
    }

    fn rewind(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.sent = None);
    }
}

/// Between the tasks and the session. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    unacked: Arc<Mutex<Unacked>>,
    filled: Arc<Notify>,
}

impl Outbox {
    fn locked(&self) -> MutexGuard<'_, Unacked> {
        self.unacked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, report: TaskReport) {
        self.locked().put(report);
        self.filled.notify_one();
    }

    /// Of a task that no manager knows there is nothing to tell.
    pub(crate) fn forget(&self, task: TaskId) {
        self.locked().entries.remove(&task);
    }

    /// Returns when something was put in since the last time. For one reader.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// What has not been sent in this session, up to [`BATCH_MAX`].
    pub(crate) fn take(&self, sequence: u64) -> Vec<TaskReport> {
        self.locked().take(sequence)
    }

    /// That message is committed. What changed since it was sent is not confirmed by it.
    pub(super) fn ack(&self, sequence: u64) {
        self.locked().ack(sequence);
    }

    /// A new session begins: all that is unconfirmed is to be sent in it.
    pub(super) fn rewind(&self) {
        self.locked().rewind();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::{
        task::TaskStatus,
        task_state::TaskState::{self, Failed, Running, Starting},
        time::Timestamp,
        version::Fence,
    };

    fn report(task: u128, state: TaskState) -> TaskReport {
        let status = TaskStatus::new(state, Timestamp::EPOCH, "");
        TaskReport { task_id: TaskId::from_bits(task), fence: Fence(1), status }
    }

    #[test]
    fn only_the_last_status_is_told() {
        let mut unacked = Unacked::default();
        unacked.put(report(1, Starting));
        unacked.put(report(1, Running));
        assert_eq!(unacked.take(1), [report(1, Running)]);
        assert_eq!(unacked.take(2), []);
    }

    #[test]
    fn an_ack_confirms_what_was_sent_and_not_what_came_after() {
        let mut unacked = Unacked::default();
        unacked.put(report(1, Running));
        unacked.put(report(2, Running));
        unacked.take(1);
        unacked.put(report(1, Failed));
        unacked.ack(1);
        unacked.rewind();
        assert_eq!(unacked.take(1), [report(1, Failed)]);
    }

    #[test]
    fn a_new_session_gets_what_the_old_one_had_no_ack_for() {
        let mut unacked = Unacked::default();
        unacked.put(report(1, Running));
        unacked.take(1);
        unacked.rewind();
        assert_eq!(unacked.take(1), [report(1, Running)]);
    }

    #[test]
    fn batches_are_bounded() {
        let mut unacked = Unacked::default();
        (0..300).for_each(|task| unacked.put(report(task, Running)));
        assert_eq!((unacked.take(1).len(), unacked.take(2).len()), (BATCH_MAX, 44));
    }
}
