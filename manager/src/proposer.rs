//! The one task that writes to the Raft log. It takes what waits, as much as fits, and proposes it as one entry: at
//! once when the log is free, in growing batches while it is busy. Beside an entry that is under way another one begins
//! when it carries as much: an entry costs every manager a write and a message, whatever it carries.
//!
//! It stamps the time, so that the entries of a batch carry ascending stamps in their order.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use muster_core::command::{Command, Entry, Outcome};
use muster_proto::id::RequestId;
use openraft::error::{ClientWriteError, Fatal, RaftError};
use serde::Serialize;
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    failure::Failure,
    leadership::{Leadership, elsewhere},
    outside::tasks,
    raft::{Batch, Raft},
    replica::ProposeError,
};

/// Proposals that may wait; the callers of more are held back.
pub(crate) const QUEUED_MAX: usize = 1_024;
/// Commands in one entry.
const BATCH_MAX: usize = 256;
/// Of one command, and of a batch before its last command: with it, an entry stays under the transport's 4 MiB.
pub(crate) const COMMAND_BYTES_MAX: usize = 1 << 20;
/// Entries under way at once: one that is being written here, one that is on its way to the others.
pub(crate) const IN_FLIGHT_MAX: usize = 2;

/// Without a majority what is under way may never be answered, and whoever stops this manager waits.
const STOP_GRACE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) request: Option<RequestId>,
    pub(crate) command: Command,
    /// As the log will have it.
    pub(crate) encoded: Vec<u8>,
    pub(crate) deadline: Instant,
    pub(crate) answer: oneshot::Sender<Result<Outcome, ProposeError>>,
}

type Answers = Vec<oneshot::Sender<Result<Outcome, ProposeError>>>;

pub(crate) struct Proposer {
    pub(crate) raft: Raft,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) queue: mpsc::Receiver<Proposal>,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) failure: Failure,
    /// [`IN_FLIGHT_MAX`] places. Who takes them all holds everything back.
    pub(crate) places: Arc<Semaphore>,
}

/// A command as the log will have it, or that it takes too much.
pub(crate) fn encode(command: &Command) -> Result<Vec<u8>, ProposeError> {
    let max = COMMAND_BYTES_MAX;
    match rmp_serde::to_vec_named(command) {
        Ok(encoded) if encoded.len() <= max => Ok(encoded),
        Ok(encoded) => Err(ProposeError::TooLarge { bytes: encoded.len(), max }),
        // What cannot be encoded fits nowhere.
        Err(_) => Err(ProposeError::TooLarge { bytes: usize::MAX, max }),
    }
}

pub(crate) fn encoded_len<T: Serialize>(value: &T) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match rmp_serde::encode::write_named(&mut counter, value) {
        Ok(()) => counter.0,
        // What cannot be encoded fits nowhere.
        Err(_) => usize::MAX,
    }
}

pub(crate) fn stopped(fatal: &Fatal<u64>, failure: &Failure) -> ProposeError {
    match (fatal, failure.get()) {
        (_, Some(why)) => ProposeError::Failed(why),
        (Fatal::Stopped, None) => ProposeError::Stopping,
        (Fatal::StorageError(_) | Fatal::Panicked, None) => ProposeError::Failed(fatal.to_string().into()),
    }
}

impl Proposer {
    /// Ends when told to, or when the last [`crate::replica::Replica`] is gone; what is under way is answered first, as
    /// unconfirmed where it takes longer than [`STOP_GRACE`].
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut waiting = VecDeque::new();
        // Each ends with how many commands it was.
        let mut under_way: JoinSet<usize> = JoinSet::new();
        let mut commands_under_way = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                place = self.places.clone().acquire_owned(), if is_worth_an_entry(waiting.len(), commands_under_way) => {
                    let batch = take_batch(&mut waiting);
                    let commands = batch.len();
                    let written = self.write(batch, stop.clone());
                    commands_under_way += commands;
                    under_way.spawn(tasks::inherit(async move {
                        written.await;
                        drop(place);
                        commands
                    }));
                }
                Some(done) = under_way.join_next(), if !under_way.is_empty() => match done {
                    Ok(commands) => commands_under_way = commands_under_way.saturating_sub(commands),
                    // It panicked, and its callers were told by the end of their channels.
                    Err(_panic) => commands_under_way = 0,
                },
                received = self.queue.recv(), if waiting.len() < BATCH_MAX => match received {
                    Some(proposal) => {
                        waiting.push_back(proposal);
                        while waiting.len() < BATCH_MAX && let Ok(more) = self.queue.try_recv() {
                            waiting.push_back(more);
                        }
                    }
                    None => break,
                },
            }
        }
        // Dropping what waits tells its callers that the manager stops.
        drop(waiting);
        while under_way.join_next().await.is_some() {}
    }

    fn write(&self, proposals: Vec<Proposal>, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let deadline = proposals.iter().map(|proposal| proposal.deadline).max().unwrap_or_else(Instant::now);
        let at = self.clock.now();
        let (mut entries, mut commands, mut answers) = (Vec::new(), Vec::new(), Answers::new());
        for Proposal { request, command, encoded, answer, deadline: _ } in proposals {
            entries.push(Entry::new(at, request, command));
            commands.push(encoded);
            answers.push(answer);
        }
        let batch = Batch::of(entries, &commands);
        let (raft, leadership, failure) = (self.raft.clone(), self.leadership.clone(), self.failure.clone());
        async move {
            let written = tokio::select! {
                biased;
                written = write(raft, leadership, failure, deadline, batch) => written,
                () = sleep_until(deadline) => Err(ProposeError::Unconfirmed),
                () = async { stop.cancelled().await; sleep(STOP_GRACE).await } => Err(ProposeError::Unconfirmed),
            };
            answer(answers, written);
        }
    }
}

fn is_worth_an_entry(waiting: usize, under_way: usize) -> bool {
    waiting > 0 && waiting >= under_way.min(BATCH_MAX)
}

fn take_batch(waiting: &mut VecDeque<Proposal>) -> Vec<Proposal> {
    let mut bytes = 0;
    let fitting = waiting
        .iter()
        .take(BATCH_MAX)
        .take_while(|proposal| {
            let fits = bytes < COMMAND_BYTES_MAX;
            bytes += proposal.encoded.len();
            fits
        })
        .count();
    waiting.drain(..fitting).collect()
}

/// Repeats what openraft refused. Nearly always it did so before it touched the log; but an entry that a new leader's
/// took the place of is refused in the same words, and may all the same live on elsewhere and be committed later. So
/// each command is one that may come twice: a user's carries its request, a plan its term, a report its fence.
async fn write(
    raft: Raft,
    mut leadership: watch::Receiver<Leadership>,
    failure: Failure,
    deadline: Instant,
    batch: Batch,
) -> Result<Vec<Outcome>, ProposeError> {
    loop {
        let refused = match raft.client_write(batch.clone()).await {
            Ok(written) => return Ok(written.data.0),
            Err(refused) => refused,
        };
        match refused {
            RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                elsewhere(&mut leadership, forward.leader_node, deadline).await?;
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(_)) => return Err(ProposeError::Unconfirmed),
            RaftError::Fatal(fatal) => return Err(stopped(&fatal, &failure)),
        }
    }
}

fn answer(answers: Answers, written: Result<Vec<Outcome>, ProposeError>) {
    match written {
        Ok(outcomes) => {
            debug_assert_eq!(answers.len(), outcomes.len(), "one outcome for each command");
            for (caller, outcome) in answers.into_iter().zip(outcomes) {
                // A caller that gave up has dropped its end.
                let _ = caller.send(Ok(outcome));
            }
        }
        Err(why) => {
            for caller in answers {
                let _ = caller.send(Err(why.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_a_free_log_and_beside_an_entry_one_as_large_begins() {
        assert!(is_worth_an_entry(1, 0) && !is_worth_an_entry(0, 0));
        assert!(is_worth_an_entry(1, 1), "two clients do not wait for each other");
        assert!(!is_worth_an_entry(31, 32) && is_worth_an_entry(32, 32));
        assert!(is_worth_an_entry(BATCH_MAX, 2 * BATCH_MAX), "no more can wait");
    }
}
