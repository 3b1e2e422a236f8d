//! Read points: the word of a majority that this manager leads, and that it has applied everything acknowledged so far.
//!
//! One question serves everybody who waits when it is put. Who comes while one is under way waits for the next: its answer
//! may be older than what they have to see. So sixty-four clients cost what one does, and not sixty-four rounds.
//!
//! Asked through [`crate::replica::Replica::barrier`]; knows nothing of what is read then.

use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    failure::Failure,
    leadership::{Leadership, elsewhere},
    proposer,
    raft::Raft,
    replica::{DEADLINE, ProposeError},
};

/// Readers that may wait; more are held back.
pub(crate) const WAITING_MAX: usize = 1_024;

pub(crate) type Waiting = oneshot::Sender<Result<(), ProposeError>>;

pub(crate) struct ReadPoints {
    pub(crate) raft: Raft,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) failure: Failure,
    pub(crate) queue: mpsc::Receiver<Waiting>,
}

impl ReadPoints {
    /// Ends when told to, or when the last [`crate::replica::Replica`] is gone. Who waits then is told that the manager
    /// stops, by the end of the channel.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.serve() => {}
        }
    }

    async fn serve(&mut self) {
        let mut waiting = Vec::new();
        while self.queue.recv_many(&mut waiting, WAITING_MAX).await > 0 {
            let found = self.ask(Instant::now() + DEADLINE).await;
            for reader in waiting.drain(..) {
                // One that gave up has dropped its end.
                let _ = reader.send(found.clone());
            }
        }
    }

    async fn ask(&self, deadline: Instant) -> Result<(), ProposeError> {
        loop {
            let refused = match timeout_at(deadline, self.raft.ensure_linearizable()).await {
                Ok(Ok(_applied)) => return Ok(()),
                Ok(Err(refused)) => refused,
                Err(_elapsed) => return Err(ProposeError::NoLeader),
            };
            match refused {
                RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward)) => {
                    elsewhere(&mut self.leadership.clone(), forward.leader_node, deadline).await?;
                }
                RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)) => return Err(ProposeError::NoLeader),
                RaftError::Fatal(fatal) => return Err(proposer::stopped(&fatal, &self.failure)),
            }
        }
    }
}
