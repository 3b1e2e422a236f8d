//! Who leads, as this manager knows it.

use muster_proto::version::Term;
use openraft::ServerState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::raft::{Metrics, Peer, Raft};

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
        let term = Term(metrics.current_term);
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
