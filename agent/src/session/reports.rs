//! What managers have not confirmed yet: for each task the last status, which says all the earlier ones did, as a
//! status only grows and keeps what it gathered. So the outbox is bounded by the number of tasks, whatever happens.
//! How often a slot in a crash loop is told of, [`loops`] says.

mod loops;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use muster_proto::{assignment::TaskReport, id::TaskId, task::TaskStatus, task_state::TaskState};
use tokio::{sync::Notify, time::Instant};

use loops::Loops;
pub(crate) use loops::Place;

/// In one message. A report with full evidence takes about 8 KiB, so that a batch stays well under
/// [`muster_proto::assignment::AGENT_MESSAGE_BYTES_MAX`].
pub(super) const BATCH_MAX: usize = 256;

/// Between two reports of one task of which the second changes no decision: each is an entry in the managers' log.
const WORDS_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Entry {
    place: Place,
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
    loops: Loops,
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
    fn put(&mut self, place: Place, report: TaskReport) {
        self.entries.insert(report.task_id, Entry { place, report, sent: None });
    }

    /// And when something is due that is not yet.
    fn take(&mut self, sequence: u64, now: Instant) -> (Vec<TaskReport>, Option<Instant>) {
        let (mut chosen, mut later) = (BTreeSet::new(), None::<Instant>);
        let Self { entries, told, loops } = self;
        let waits_until = |entry: &Entry, told: Option<&Told>, loops: &Loops| {
            let status = &entry.report.status;
            due(status, told).max(loops.due(entry.place, status, told, now)).filter(|due| *due > now)
        };
        let is_told = |(task, entry): &(&TaskId, &Entry)| {
            entry.sent.is_none() && loops.has(entry.place) && waits_until(entry, told.get(task), loops).is_none()
        };
        let mut looped: BTreeMap<Place, Vec<TaskId>> =
            entries.iter().filter(is_told).map(|(_, entry)| (entry.place, Vec::new())).collect();
        for (task, entry) in entries.iter().filter(|(_, entry)| entry.sent.is_none()) {
            if let Some(tasks) = looped.get_mut(&entry.place) {
                tasks.push(*task);
                continue;
            }
            match waits_until(entry, told.get(task), loops) {
                Some(due) => later = Some(later.map_or(due, |later| later.min(due))),
                None if chosen.len() == BATCH_MAX => later = Some(now),
                None => drop(chosen.insert(*task)),
            }
        }
        // All that there is to tell of a slot in a loop goes together: in the next batch where this one has no room for it.
        for (place, tasks) in looped {
            let has_room = chosen.len() + tasks.len() <= BATCH_MAX;
            if has_room {
                loops.told(place, now);
            } else {
                later = Some(now);
            }
            if has_room || chosen.is_empty() {
                chosen.extend(tasks.into_iter().take(BATCH_MAX));
            }
        }
        let mut taken = Vec::new();
        for (task, entry) in entries.iter_mut().filter(|(task, _)| chosen.contains(task)) {
            let TaskStatus { state, removed, .. } = entry.report.status;
            told.insert(*task, Told { at: now, state, removed });
            entry.sent = Some(sequence);
            taken.push(entry.report.clone());
        }
        (taken, later)
    }

    fn ack(&mut self, sequence: u64) {
        self.entries.retain(|_, entry| entry.sent != Some(sequence));
    }

    /// Not the loops: whatever breaks sessions off, a loop must not cost more for it.
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

    pub(crate) fn put(&self, place: Place, report: TaskReport) {
        self.locked().put(place, report);
        self.filled.notify_one();
    }

    /// A task of the slot failed, soon after it began; to be said before its end is put in.
    pub(crate) fn crashed(&self, place: Place) {
        self.locked().loops.crashed(place, Instant::now());
    }

    /// A task of the slot ended that makes up for the failures before it.
    pub(crate) fn ran_stably(&self, place: Place) {
        self.locked().loops.ran_stably(place);
    }

    #[cfg(test)]
    pub(crate) fn is_in_loop(&self, place: Place) -> bool {
        self.locked().loops.has(place)
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
        let loops = std::mem::take(&mut unacked.loops);
        let everything = unacked.take(sequence, Instant::now()).0;
        unacked.loops = loops;
        everything
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
        id::ServiceId,
        task::Slot,
        task_state::TaskState::{Accepted, Failed, Preparing, Ready, Running, Starting},
        time::Timestamp,
        version::Fence,
    };

    fn report(task: u128, state: TaskState) -> TaskReport {
        let status = TaskStatus::new(state, Timestamp::EPOCH, "");
        TaskReport { task_id: TaskId::from_bits(task), fence: Fence(1), status }
    }

    const PLACE: Place = (ServiceId::from_bits(1), Slot::Number(1));

    fn put(unacked: &mut Unacked, report: TaskReport) {
        unacked.put(PLACE, report);
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
            put(&mut unacked, report);
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
        put(&mut unacked, report(1, Starting));
        put(&mut unacked, report(1, Running));
        assert_eq!(take(&mut unacked, 1), [report(1, Running)]);
        assert_eq!(take(&mut unacked, 2), []);
    }

    #[test]
    fn an_ack_confirms_what_was_sent_and_not_what_came_after() {
        let mut unacked = Unacked::default();
        put(&mut unacked, report(1, Running));
        put(&mut unacked, report(2, Running));
        take(&mut unacked, 1);
        put(&mut unacked, report(1, Failed));
        unacked.ack(1);
        unacked.rewind();
        assert_eq!(take(&mut unacked, 1), [report(1, Failed)]);
    }

    #[test]
    fn a_new_session_gets_what_the_old_one_had_no_ack_for() {
        let mut unacked = Unacked::default();
        put(&mut unacked, report(1, Running));
        take(&mut unacked, 1);
        unacked.rewind();
        assert_eq!(take(&mut unacked, 1), [report(1, Running)]);
    }

    #[test]
    fn batches_are_bounded() {
        let mut unacked = Unacked::default();
        (0..300).for_each(|task| put(&mut unacked, report(task, Running)));
        assert_eq!((take(&mut unacked, 1).len(), take(&mut unacked, 2).len()), (BATCH_MAX, 44));
    }

    /// The place of a slot of its own for each task.
    fn of_its_own(task: u128) -> Place {
        (ServiceId::from_bits(task), Slot::Number(1))
    }

    #[test]
    fn what_a_full_batch_leaves_of_loops_comes_in_the_next_and_no_slot_is_torn_apart() {
        let (mut unacked, begin) = (Unacked::default(), Instant::now());
        for task in 0..300 {
            unacked.loops.crashed(of_its_own(task), begin);
            unacked.put(of_its_own(task), report(task, Failed));
        }
        // The slot of a task in the first batch by its id, and of one in the second.
        unacked.put(of_its_own(299), report(0, Failed));
        let (first, later) = unacked.take(1, begin);
        assert_eq!((first.len(), later), (BATCH_MAX, Some(begin)));
        let (second, later) = unacked.take(2, begin);
        assert_eq!((second.len(), later), (300 - BATCH_MAX, None));
        let is_of_last = |told: &TaskReport| [0, 299].contains(&told.task_id.bits());
        assert_eq!(second.iter().filter(|told| is_of_last(told)).count(), 2);
    }

    #[test]
    fn a_slot_with_more_than_a_batch_is_told_of_all_the_same() {
        let (mut unacked, begin) = (Unacked::default(), Instant::now());
        unacked.loops.crashed(PLACE, begin);
        (0..300).for_each(|task| put(&mut unacked, report(task, Failed)));
        assert_eq!((unacked.take(1, begin).0.len(), unacked.take(2, begin).0.len()), (BATCH_MAX, 44));
    }

    /// What is told of tasks in one slot, and when: each millisecond something happens and the reader looks.
    #[derive(Debug)]
    struct Slots {
        unacked: Unacked,
        begin: Instant,
        sequence: u64,
        told: Vec<(u64, Vec<(u128, TaskState)>)>,
    }

    impl Slots {
        fn new() -> Self {
            Self { unacked: Unacked::default(), begin: Instant::now(), sequence: 0, told: Vec::new() }
        }

        fn at(&self, millis: u64) -> Instant {
            self.begin + Duration::from_millis(millis)
        }

        fn said(&mut self, millis: u64, place: Place, task: u128, state: TaskState) {
            if state == Failed {
                self.unacked.loops.crashed(place, self.at(millis));
            }
            self.unacked.put(place, report(task, state));
            self.look(millis);
        }

        fn look(&mut self, millis: u64) -> Option<Instant> {
            self.sequence += 1;
            let (taken, later) = self.unacked.take(self.sequence, self.at(millis));
            self.unacked.ack(self.sequence);
            if !taken.is_empty() {
                let brief = |report: &TaskReport| (report.task_id.bits(), report.status.state);
                self.told.push((millis, taken.iter().map(brief).collect()));
            }
            later
        }

        /// Looks whenever something is due, as the session does.
        fn look_until(&mut self, mut millis: u64, end: u64) {
            while let Some(later) = self.look(millis).filter(|later| *later < self.at(end)) {
                millis = u64::try_from((later - self.begin).as_millis()).expect("small");
            }
        }
    }

    #[test]
    fn a_crash_loop_is_told_of_once_a_second_and_every_end_is() {
        let mut slots = Slots::new();
        for attempt in 0..5_u64 {
            let (task, begin) = (u128::from(attempt), attempt * 700);
            for (after, state) in [(0, Accepted), (10, Preparing), (100, Ready), (200, Running), (300, Failed)] {
                slots.look_until((begin + after).saturating_sub(100), begin + after);
                slots.said(begin + after, PLACE, task, state);
            }
        }
        slots.look_until(3_100, 60_000);
        let first = [(0, (0, Accepted)), (100, (0, Ready)), (200, (0, Running)), (300, (0, Failed))];
        let looped = [
            (1_300, vec![(1, Failed)]),
            (2_300, vec![(2, Failed), (3, Running)]),
            (3_300, vec![(3, Failed), (4, Failed)]),
        ];
        let all: Vec<_> = first.map(|(at, told)| (at, vec![told])).into_iter().chain(looped).collect();
        assert_eq!(slots.told, all);
    }

    #[test]
    fn other_slots_and_later_times_know_nothing_of_a_loop() {
        let mut slots = Slots::new();
        let other = (ServiceId::from_bits(1), Slot::Number(2));
        slots.said(0, PLACE, 1, Failed);
        slots.said(10, other, 2, Ready);
        slots.said(20, other, 2, Running);
        slots.said(200_000, PLACE, 3, Ready);
        slots.said(200_010, PLACE, 3, Running);
        let told: Vec<u64> = slots.told.iter().map(|(at, _)| *at).collect();
        assert_eq!(told, [0, 10, 20, 200_000, 200_010]);
    }

    #[test]
    fn words_do_not_take_a_decisions_second() {
        let mut slots = Slots::new();
        slots.said(0, PLACE, 1, Failed);
        slots.said(900, PLACE, 2, Starting);
        slots.look_until(900, 1_050);
        slots.said(1_050, PLACE, 2, Running);
        assert_eq!(slots.told, [(0, vec![(1, Failed)]), (1_050, vec![(2, Running)])]);
        slots.said(1_060, PLACE, 2, Failed);
        slots.said(1_100, PLACE, 3, Starting);
        slots.look_until(1_100, 2_100);
        slots.said(2_100, PLACE, 4, Preparing);
        slots.look_until(2_100, 60_000);
        assert_eq!(slots.told[2..], [(2_050, vec![(2, Failed), (3, Starting)]), (4_050, vec![(4, Preparing)])]);
    }

    #[test]
    fn that_a_container_is_gone_goes_along_with_the_next_attempt() {
        let mut slots = Slots::new();
        slots.said(0, PLACE, 1, Failed);
        let mut gone = report(1, Failed);
        gone.status.removed = true;
        put(&mut slots.unacked, gone);
        slots.said(100, PLACE, 2, Ready);
        slots.look_until(100, 60_000);
        assert_eq!(slots.told, [(0, vec![(1, Failed)]), (1_000, vec![(1, Failed), (2, Ready)])]);
    }

    #[test]
    fn a_new_session_tells_of_a_loop_all_that_the_old_one_did_not() {
        let (mut unacked, begin) = (Unacked::default(), Instant::now());
        unacked.loops.crashed(PLACE, begin);
        put(&mut unacked, report(1, Failed));
        assert_eq!(unacked.take(1, begin).0, [report(1, Failed)]);
        put(&mut unacked, report(2, Running));
        let soon = begin + Duration::from_millis(100);
        assert_eq!(unacked.take(2, soon).0, []);
        unacked.rewind();
        let (told, later) = unacked.take(1, soon);
        assert_eq!((told, later), (Vec::new(), Some(begin + Duration::from_secs(1))));
        assert_eq!(unacked.take(2, begin + Duration::from_secs(1)).0, [report(1, Failed), report(2, Running)]);
    }
}
