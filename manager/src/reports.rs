//! Gathers what agents report of their tasks into few log entries: at once when nothing is under way, else together
//! with everything that comes until the last batch is committed.

use futures_util::future::try_join_all;
use muster_core::command::Command;
use muster_proto::{assignment::TaskReport, id::NodeId};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    proposer,
    replica::{ProposeError, Replica},
};

/// Submissions that may wait; the sessions of more are held back.
const QUEUED_MAX: usize = 1_024;
/// Reports of one command.
const REPORTS_MAX: usize = 500;
/// Of one submission, and of one command's reports before its last: a little more than half of what a command may take
/// would not fit twice.
const BYTES_MAX: usize = (proposer::COMMAND_BYTES_MAX - COMMAND_OVERHEAD_BYTES) / 2;
/// What a command has around its submissions: an id and an envelope for each report, and its own.
const COMMAND_OVERHEAD_BYTES: usize = 64 << 10;
/// Reports in one submission: with evidence a report takes up to 8 KiB, so that two limits' worth fit in a command.
const SUBMISSION_REPORTS_MAX: usize = 50;

type Told = oneshot::Sender<Result<(), ProposeError>>;

#[derive(Debug)]
struct Submission {
    node: NodeId,
    reports: Vec<TaskReport>,
    bytes: usize,
    committed: Told,
}

/// Where the dispatcher hands in reports.
#[derive(Clone, Debug)]
pub struct ReportBatcher(mpsc::Sender<Submission>);

pub(crate) struct Service {
    queue: mpsc::Receiver<Submission>,
    replica: Replica,
}

pub(crate) fn new(replica: Replica) -> (ReportBatcher, Service) {
    let (sender, queue) = mpsc::channel(QUEUED_MAX);
    (ReportBatcher(sender), Service { queue, replica })
}

impl ReportBatcher {
    /// Returns once all of them are committed. A report that the state refuses (superseded, of a task that is gone) is
    /// committed all the same: it is settled and need not come again.
    pub async fn submit(&self, node: NodeId, reports: Vec<TaskReport>) -> Result<(), ProposeError> {
        let parts = reports.chunks(SUBMISSION_REPORTS_MAX).map(|part| self.submit_part(node, part.to_vec()));
        try_join_all(parts).await.map(|_| ())
    }

    /// What takes too much is refused alone: the batch that it came into would be, with the reports of other nodes.
    async fn submit_part(&self, node: NodeId, reports: Vec<TaskReport>) -> Result<(), ProposeError> {
        let bytes = proposer::encoded_len(&reports);
        if bytes > BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes, max: BYTES_MAX });
        }
        let (committed, told) = oneshot::channel();
        let submission = Submission { node, reports, bytes, committed };
        self.0.send(submission).await.map_err(|_closed| ProposeError::Stopping)?;
        told.await.unwrap_or(Err(ProposeError::Stopping))
    }
}

impl Service {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                () = stop.cancelled() => return,
                first = self.queue.recv() => first,
            };
            let Some(first) = first else { return };
            let (reports, told) = self.gather(first);
            let outcome = self.replica.propose(Command::ReportTasks { reports }).await;
            for caller in told {
                // A session that ended no longer waits.
                let _ = caller.send(outcome.as_ref().map(|_| ()).map_err(Clone::clone));
            }
        }
    }

    fn gather(&mut self, first: Submission) -> (Vec<(NodeId, TaskReport)>, Vec<Told>) {
        let (mut reports, mut told, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(submission) = next {
            bytes += submission.bytes;
            reports.extend(submission.reports.into_iter().map(|report| (submission.node, report)));
            told.push(submission.committed);
            let full = reports.len() >= REPORTS_MAX || bytes >= BYTES_MAX;
            next = if full { None } else { self.queue.try_recv().ok() };
        }
        (reports, told)
    }
}
