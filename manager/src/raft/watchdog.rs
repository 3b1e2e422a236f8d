//! Calls an election when no leader has been known for too long. Openraft 0.9 draws one election timeout per process
//! instead of one per election, so that two candidates can go on meeting in the middle; the jitter here parts them.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    outside::Random,
    raft::{ELECTION_MS_MAX, Raft},
};

/// Openraft's own elections come first: two of its longest timeouts.
const PATIENCE_MIN: Duration = Duration::from_millis(2 * ELECTION_MS_MAX);
const PATIENCE_MAX: Duration = Duration::from_millis(4 * ELECTION_MS_MAX);

pub(crate) async fn run(raft: Raft, random: Arc<dyn Random>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = watch(raft, &*random) => {}
    }
}

/// Ends with the Raft task.
async fn watch(raft: Raft, random: &dyn Random) {
    let mut metrics = raft.server_metrics();
    loop {
        if metrics.wait_for(|now| now.current_leader.is_none()).await.is_err() {
            return;
        }
        let patience = random.duration(PATIENCE_MIN..PATIENCE_MAX);
        let led = timeout(patience, metrics.wait_for(|now| now.current_leader.is_some())).await.map(|led| led.is_ok());
        match led {
            Ok(true) => {}
            Ok(false) => return,
            Err(_elapsed) => match raft.is_initialized().await {
                Ok(true) if raft.trigger().elect().await.is_ok() => {}
                // Nobody to elect yet.
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            },
        }
    }
}
