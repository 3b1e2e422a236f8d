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
    outside::Random,
    raft::{LEASE, Metrics, Raft, contact::Contact},
    room::Room,
};

/// Longer than openraft's lease, during which voters refuse every candidate.
const PATIENCE: Range<Duration> = Duration::from_millis(500)..Duration::from_millis(900);
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

pub(crate) async fn run(raft: Raft, contact: Contact, room: Room, random: Arc<dyn Random>, stop: CancellationToken) {
    raft.runtime_config().elect(false);
    tokio::select! {
        () = stop.cancelled() => {}
        // The end of the Raft task is seen by whoever runs the manager.
        _ended = watch(&raft, &contact, &room, &*random) => {}
    }
}

async fn watch(raft: &Raft, contact: &Contact, room: &Room, random: &dyn Random) -> Option<()> {
    let mut metrics = raft.metrics();
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
                raft.trigger().elect().await.ok()?;
                metrics.wait_for(|now| part(now) != Part::Alone).await.ok()?;
            }
            Part::Voter => {
                let heard = contact.leader();
                if heard > since {
                    (since, range) = (heard, PATIENCE);
                }
                let until = since + random.duration(range.clone());
                sleep_until(until).await;
                let silent = contact.leader() <= since;
                if room.is_full() {
                    // It could not even begin to lead; others may.
                    since = Instant::now();
                } else if silent && part(&metrics.borrow_and_update()) == Part::Voter {
                    tracing::info!("no leader was heard of; standing for election");
                    raft.trigger().elect().await.ok()?;
                    (since, range) = (Instant::now(), AGAIN);
                }
            }
        }
    }
}
