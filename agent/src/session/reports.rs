//! What managers have not confirmed yet: for each task the last status, which says all the earlier ones did, as a
//! status only grows and keeps what it gathered. So the outbox is bounded by the number of tasks, whatever happens.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_proto::{assignment::TaskReport, id::TaskId, task::TaskStatus, task_state::TaskState};
use tokio::{sync::Notify, time::Instant};

/// In one message. A report with full evidence takes about 8 KiB, so that a batch stays well under
/// [`muster_proto::assignment::AGENT_MESSAGE_BYTES_MAX`].
pub(super) const BATCH_MAX: usize = 256;

/// Between two reports of one task of which the second changes no decision: each is an entry in the managers' log.
const WORDS_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Entry {
    report: TaskReport,
    /// The message that carried it in the present session; None when it has yet to be sent.
    sent: Option<u64>,
}

/// What was last told of a task, and when.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: Instant,
    state: TaskState,
    removed: bool,
}

#[derive(Debug, Default)]
struct Unacked {
    entries: BTreeMap<TaskId, Entry>,
    told: BTreeMap<TaskId, Told>,
}

/// Whether managers decide something by the state: then it is told at once. The others say how far a task is.
fn is_decisive(state: TaskState) -> bool {
    match state {
        TaskState::Ready
        | TaskState::Running
        | TaskState::Complete
        | TaskState::Shutdown
        | TaskState::Failed
        | TaskState::Rejected
        | TaskState::Orphaned => true,
        TaskState::New
        | TaskState::Pending
        | TaskState::Assigned
        | TaskState::Accepted
        | TaskState::Preparing
        | TaskState::Starting => false,
    }
}

/// When it may be told.
fn due(status: &TaskStatus, told: Option<&Told>) -> Option<Instant> {
    let told = told?;
    let is_news = (status.state, status.removed) != (told.state, told.removed);
    if is_news && is_decisive(status.state) { None } else { Some(told.at + WORDS_PAUSE) }
}

impl Unacked {
    fn put(&mut self, report: TaskReport) {
        self.entries.insert(report.task_id, Entry { report, sent: None });
    }

    /// And when something is due that is not yet.
    fn take(&mut self, sequence: u64, now: Instant) -> (Vec<TaskReport>, Option<Instant>) {
        let (mut taken, mut later) = (Vec::new(), None::<Instant>);
        for (task, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.sent.is_none()) {
            let status = &entry.report.status;
            match due(status, self.told.get(task)).filter(|due| *due > now) {
                Some(due) => later = Some(later.map_or(due, |later| later.min(due))),
                None if taken.len() == BATCH_MAX => later = Some(now),
                None => {
                    self.told.insert(*task, Told { at: now, state: status.state, removed: status.removed });
                    entry.sent = Some(sequence);
                    taken.push(entry.report.clone());
                }
            }
        }
        (taken, later)
    }

    fn ack(&mut self, sequence: u64) {
        self.entries.retain(|_, entry| entry.sent != Some(sequence));
    }

    fn rewind(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.sent = None);
        self.told.clear();
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
        let mut unacked = self.locked();
        unacked.entries.remove(&task);
        unacked.told.remove(&task);
    }

    /// Returns when something was put in since the last time. For one reader.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// What has not been sent in this session and is due, up to [`BATCH_MAX`]; and when there is more.
    pub(crate) fn take(&self, sequence: u64) -> (Vec<TaskReport>, Option<Instant>) {
        self.locked().take(sequence, Instant::now())
    }

    /// What has not been sent, due or not: tests see every status.
    #[cfg(test)]
    pub(crate) fn everything(&self, sequence: u64) -> Vec<TaskReport> {
        let mut unacked = self.locked();
        unacked.told.clear();
        unacked.take(sequence, Instant::now()).0
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
        task_state::TaskState::{Accepted, Failed, Preparing, Running, Starting},
        time::Timestamp,
        version::Fence,
    };

    fn report(task: u128, state: TaskState) -> TaskReport {
        let status = TaskStatus::new(state, Timestamp::EPOCH, "");
        TaskReport { task_id: TaskId::from_bits(task), fence: Fence(1), status }
    }

    fn take(unacked: &mut Unacked, sequence: u64) -> Vec<TaskReport> {
        unacked.take(sequence, Instant::now()).0
    }

    #[test]
    fn words_wait_for_their_second_and_decisions_do_not() {
        let (mut unacked, begin) = (Unacked::default(), Instant::now());
        let mut said = |state, message: &str, after_ms| {
            let mut report = report(1, state);
            report.status.message = message.to_owned();
            unacked.put(report);
            let (told, later) = unacked.take(1, begin + Duration::from_millis(after_ms));
            (told.len(), later.map(|at| (at - begin).as_millis()))
        };
        assert_eq!(said(Accepted, "", 0), (1, None));
        assert_eq!(said(Preparing, "", 10), (0, Some(1_000)));
        assert_eq!(said(Running, "", 20), (1, None), "it says all that came before");
        for flap in 1..20 {
            let expected = if flap % 10 == 0 { (1, None) } else { (0, Some(1_020 + flap / 10 * 1_000)) };
            let after_ms = 20 + u64::try_from(flap).expect("small") * 100;
            assert_eq!(said(Running, &format!("{flap}"), after_ms), expected, "{flap}");
        }
        assert_eq!(said(Failed, "", 1_950), (1, None));
    }

    #[test]
    fn only_the_last_status_is_told() {
        let mut unacked = Unacked::default();
        unacked.put(report(1, Starting));
        unacked.put(report(1, Running));
        assert_eq!(take(&mut unacked, 1), [report(1, Running)]);
        assert_eq!(take(&mut unacked, 2), []);
    }

    #[test]
    fn an_ack_confirms_what_was_sent_and_not_what_came_after() {
        let mut unacked = Unacked::default();
        unacked.put(report(1, Running));
        unacked.put(report(2, Running));
        take(&mut unacked, 1);
        unacked.put(report(1, Failed));
        unacked.ack(1);
        unacked.rewind();
        assert_eq!(take(&mut unacked, 1), [report(1, Failed)]);
    }

    #[test]
    fn a_new_session_gets_what_the_old_one_had_no_ack_for() {
        let mut unacked = Unacked::default();
        unacked.put(report(1, Running));
        take(&mut unacked, 1);
        unacked.rewind();
        assert_eq!(take(&mut unacked, 1), [report(1, Running)]);
    }

    #[test]
    fn batches_are_bounded() {
        let mut unacked = Unacked::default();
        (0..300).for_each(|task| unacked.put(report(task, Running)));
        assert_eq!((take(&mut unacked, 1).len(), take(&mut unacked, 2).len()), (BATCH_MAX, 44));
    }
}
