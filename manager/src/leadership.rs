//! Who leads, as this manager knows it.

use std::time::Duration;

use muster_proto::version::Term;
use openraft::ServerState;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    raft::{Metrics, Peer, Raft, term_of},
    replica::ProposeError,
};

/// Openraft knows of a change a moment before [`follow`] has told it.
const TOLD_AFTER: Duration = Duration::from_millis(5);

/// A leader that no majority has answered for this long has been replaced, or cannot change anything.
const ALONE_MS_MAX: u64 = 2_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leadership {
    /// An election is on, or cannot be won.
    #[default]
    Nobody,
    /// Another manager.
    Other { term: Term, leader: Peer },
    /// This one. Until [`crate::replica::Replica::barrier`] has returned, entries of earlier leaders may be unapplied.
    Me { term: Term },
}

impl Leadership {
    #[must_use]
    pub fn leading(&self) -> Option<Term> {
        match self {
            Leadership::Me { term } => Some(*term),
            Leadership::Nobody | Leadership::Other { .. } => None,
        }
    }

    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Leadership::Me { .. } | Leadership::Other { .. } => true,
            Leadership::Nobody => false,
        }
    }

    fn of(metrics: &Metrics) -> Self {
        let term = term_of(*metrics.vote.leader_id());
        match metrics.current_leader {
            None => Leadership::Nobody,
            // Whoever leads the others now, it is not known here.
            Some(leader) if leader == metrics.id && metrics.millis_since_quorum_ack > Some(ALONE_MS_MAX) => {
                Leadership::Nobody
            }
            Some(leader) if leader == metrics.id && metrics.state == ServerState::Leader => Leadership::Me { term },
            // It led until a moment ago, or is about to.
            Some(leader) if leader == metrics.id => Leadership::Nobody,
            Some(leader) => match metrics.membership_config.membership().get_node(&leader) {
                Some(peer) => Leadership::Other { term, leader: peer.clone() },
                None => Leadership::Nobody,
            },
        }
    }
}

/// After openraft has said that nobody leads: returns when somebody does. What was told before that is not believed.
pub(crate) async fn await_leader(
    leadership: &mut watch::Receiver<Leadership>,
    deadline: Instant,
) -> Result<(), ProposeError> {
    sleep_until(deadline.min(Instant::now() + TOLD_AFTER)).await;
    let known = timeout_at(deadline, leadership.wait_for(Leadership::is_known)).await.map(|known| known.map(drop));
    match known {
        // The last that was told stays when nobody tells any more.
        Ok(_) if leadership.has_changed().is_err() => Err(ProposeError::Stopping),
        Ok(Ok(())) => Ok(()),
        Ok(Err(_closed)) => Err(ProposeError::Stopping),
        Err(_elapsed) => Err(ProposeError::NoLeader),
    }
}

/// Keeps `told` at what openraft says until either ends.
pub(crate) async fn follow(raft: Raft, told: watch::Sender<Leadership>, stop: CancellationToken) {
    let mut metrics = raft.metrics();
    loop {
        let now = Leadership::of(&metrics.borrow_and_update());
        told.send_if_modified(|held| {
            let changed = *held != now;
            if changed {
                *held = now;
            }
            changed
        });
        tokio::select! {
            () = stop.cancelled() => return,
            changed = metrics.changed() => if changed.is_err() { return },
        }
    }
}
