//! When this manager stands for election: a voter that has heard of no leader for a while, drawn anew each time.
//!
//! It takes the place of openraft's own timer, which draws once for each process, so that two candidates can go on
//! meeting in the middle, and which counts from when a message was dealt with, so that a slow disk here would pass for
//! the leader's silence.

use std::{ops::Range, sync::Arc, time::Duration};

use openraft::ServerState;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    leadership::MISSED_AFTER,
    outside::Random,
    raft::{LEASE, Metrics, Raft, contact::Contact, members::Members},
    room::Room,
};

/// Longer than openraft's lease, during which voters refuse every candidate.
const PATIENCE: Range<Duration> = Duration::from_millis(500)..MISSED_AFTER;
/// After an election that nobody won. Long enough for votes to be written down on a slow disk.
const AGAIN: Range<Duration> = Duration::from_millis(200)..Duration::from_millis(700);
const _: () = assert!(LEASE.as_millis() < PATIENCE.start.as_millis());

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Leads, or may not lead: waits until that changes.
    None,
    /// Nobody else can.
    Alone,
    Voter,
}

fn part(now: &Metrics) -> Part {
    let group = now.membership_config.membership();
    let voter = group.voter_ids().any(|id| id == now.id);
    match (voter, now.state) {
        (true, ServerState::Follower | ServerState::Candidate | ServerState::Learner) => {
            if group.voter_ids().count() == 1 { Part::Alone } else { Part::Voter }
        }
        (true, ServerState::Leader | ServerState::Shutdown) | (false, _) => Part::None,
    }
}

pub(crate) struct Service {
    pub(crate) raft: Raft,
    pub(crate) members: Members,
    pub(crate) contact: Contact,
    pub(crate) room: Room,
    pub(crate) random: Arc<dyn Random>,
}

impl Service {
    pub(crate) async fn run(self, stop: CancellationToken) {
        self.raft.runtime_config().elect(false);
        tokio::select! {
            () = stop.cancelled() => {}
            // The end of the Raft task is seen by whoever runs the manager.
            _ended = self.watch() => {}
        }
    }

    async fn watch(&self) -> Option<()> {
        let mut metrics = self.raft.metrics();
        let mut since = Instant::now();
        let mut range = PATIENCE;
        loop {
            let now = part(&metrics.borrow_and_update());
            match now {
                Part::None => {
                    metrics.wait_for(|now| part(now) != Part::None).await.ok()?;
                    (since, range) = (Instant::now(), PATIENCE);
                }
                Part::Alone => {
                    self.raft.trigger().elect().await.ok()?;
                    metrics.wait_for(|now| part(now) != Part::Alone).await.ok()?;
                }
                Part::Voter => {
                    let heard = self.contact.leader();
                    if heard > since {
                        (since, range) = (heard, PATIENCE);
                    }
                    let until = since + self.random.duration(range.clone());
                    sleep_until(until).await;
                    if self.room.is_full() {
                        // It could not even begin to lead; others may.
                        since = Instant::now();
                    } else if self.is_silent(since) && part(&metrics.borrow_and_update()) == Part::Voter {
                        self.stand(since).await?;
                        (since, range) = (Instant::now(), AGAIN);
                    }
                }
            }
        }
    }

    fn is_silent(&self, since: Instant) -> bool {
        self.contact.leader() <= since
    }

    /// Not where the others have a leader: see [`Members::would_elect`].
    async fn stand(&self, since: Instant) -> Option<()> {
        if self.members.would_elect().await && self.is_silent(since) {
            tracing::info!("no leader was heard of; standing for election");
            self.raft.trigger().elect().await.ok()?;
        }
        Some(())
    }
}
