//! Calls an election when no leader has been known for too long. Openraft 0.9 draws one election timeout per process
//! instead of one per election, so that two candidates can go on meeting in the middle; the jitter here parts them.

use std::time::Duration;

use rand::Rng;
use tokio_util::sync::CancellationToken;

use crate::raft::{ELECTION_MS_MAX, Raft};

/// Openraft's own elections come first: two of its longest timeouts.
const PATIENCE_MS_MIN: u64 = 2 * ELECTION_MS_MAX;
const PATIENCE_MS_MAX: u64 = 4 * ELECTION_MS_MAX;

pub(crate) async fn run(raft: Raft, stop: CancellationToken) {
    let mut metrics = raft.server_metrics();
    loop {
        let leaderless = metrics.borrow_and_update().current_leader.is_none();
        if leaderless {
            let patience = Duration::from_millis(rand::rng().random_range(PATIENCE_MS_MIN..PATIENCE_MS_MAX));
            tokio::select! {
                () = stop.cancelled() => return,
                changed = metrics.wait_for(|now| now.current_leader.is_some()) => {
                    if changed.is_err() { return; }
                }
                () = tokio::time::sleep(patience) => {
                    if raft.is_initialized().await.unwrap_or(false) && raft.trigger().elect().await.is_err() {
                        return;
                    }
                }
            }
        } else {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = metrics.changed() => {
                    if changed.is_err() { return; }
                }
            }
        }
    }
}
