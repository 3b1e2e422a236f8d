//! The end of a root's rotation: once every node has shown a certificate of the new root, the leader gives the old one
//! up.
//!
//! Level-triggered: whatever changed, the state says whether it is time. A repetition is refused by `apply`.

use std::time::Duration;

use muster_core::{
    command::{Command, Outcome},
    state::State,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::replica::Replica;

/// Between looks, and after a proposal that failed: nodes take minutes to renew, one more moment does not matter.
const PAUSE: Duration = Duration::from_millis(500);

fn is_complete(state: &State) -> bool {
    state.authority().is_some_and(|authority| {
        let root = authority.root.digest;
        authority.previous.is_some() && state.nodes().all(|node| node.has_shown(root))
    })
}

pub(crate) async fn run(replica: Replica, stop: CancellationToken) {
    let mut changes = replica.changes();
    let mut leadership = replica.leadership();
    loop {
        if replica.leading().is_some() && replica.read(is_complete) {
            match replica.propose(Command::FinishRootRotation).await {
                Ok(Outcome::Done { .. } | Outcome::Partly { .. }) => {
                    tracing::info!("the rotation of the cluster's root certificate is over");
                }
                Ok(Outcome::Rejected(why)) => tracing::debug!(%why, "the rotation of the root certificate goes on"),
                Err(why) => {
                    tracing::debug!(error = %why, "the rotation of the root certificate could not be ended yet");
                    leadership.mark_changed();
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(PAUSE) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}
