//! Who may speak in the managers' Raft group, and what becomes of one that may not any more.
//!
//! A Raft id is given once. One that was taken back (its manager was demoted, removed, or lost its store) is refused by
//! whoever knows of it, as soon as the group has let it go: until then its vote may be needed to let it go. So is a
//! manager of an earlier incarnation of the cluster, which was recovered without it. Whoever is refused so has nothing
//! left to do as a manager and stops.

use std::{fmt, sync::Arc};

use muster_proto::{id::ClusterId, version::RaftId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    ca::PeerIdentity,
    raft::{Metrics, wire::Envelope},
    replica::Shared,
};

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("the message is of cluster {found}, this manager is of {expected}")]
    OtherCluster { expected: ClusterId, found: ClusterId },
    #[error("the message is for manager {meant}, this is manager {me}")]
    NotMe { meant: u64, me: u64 },
    #[error("the message says that it is of manager {said}, and the certificate of who sent it does not")]
    NotItself { said: u64 },
    #[error("manager {0} is no manager of the cluster any more")]
    Retired(u64),
    #[error("the cluster was recovered: it is in incarnation {now}, and the message is of {old}")]
    Superseded { old: u64, now: u64 },
}

/// Why this manager is none any more. Its node may go on as a worker, or has to join again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dismissal {
    #[error("this node was demoted or removed, and the other managers no longer count on it as a manager")]
    Retired,
    #[error(
        "the cluster was recovered or restored without this manager (it is in incarnation {now} now); its node goes on as a worker once it reaches the new manager, and `muster node promote` there makes it a manager again; where it does not, run `muster leave --force` here and join it again"
    )]
    Superseded { now: u64 },
}

#[derive(Clone)]
pub(crate) struct Standing {
    pub(crate) cluster: ClusterId,
    pub(crate) raft_id: u64,
    shared: Arc<Shared>,
    dismissed: Arc<watch::Sender<Option<Dismissal>>>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Standing").field("raft_id", &self.raft_id).finish_non_exhaustive()
    }
}

impl Standing {
    pub(crate) fn new(cluster: ClusterId, raft_id: u64, shared: Arc<Shared>) -> Self {
        Self { cluster, raft_id, shared, dismissed: Arc::new(watch::Sender::new(None)) }
    }

    pub(crate) fn dismissed(&self) -> watch::Receiver<Option<Dismissal>> {
        self.dismissed.subscribe()
    }

    pub(crate) fn seal<T>(&self, to: u64, body: T) -> Envelope<T> {
        Envelope { cluster: self.cluster, incarnation: self.incarnation(), from: self.raft_id, to, body }
    }

    /// Whether this manager listens to the sender. `sender` is who the connection proved to be; none where what carried
    /// the message vouches for it.
    pub(crate) fn check<T>(
        &self,
        envelope: &Envelope<T>,
        sender: Option<PeerIdentity>,
        group: &Metrics,
    ) -> Result<(), Refusal> {
        let &Envelope { cluster, incarnation: theirs, from, to, .. } = envelope;
        if cluster != self.cluster {
            return Err(Refusal::OtherCluster { expected: self.cluster, found: cluster });
        }
        if sender.is_some_and(|sender| sender.raft_id != Some(RaftId(from))) {
            return Err(Refusal::NotItself { said: from });
        }
        let peer = group.membership_config.membership().get_node(&from);
        let is_another = sender.is_some_and(|sender| peer.is_some_and(|peer| peer.node_id != sender.node_id));
        // The certificate of a manager that was demoted or removed is good for its time, its Raft id is not. One that
        // this manager has not heard of yet is believed: it may be the one to hear it from.
        let is_retired = peer.is_none() && self.shared.read(|state| state.is_retired(RaftId(from)));
        let ours = self.incarnation();
        // Who has no state yet has nothing that could be out of date. Two that were recovered from copies which knew the same
        // go by the same Raft id, so that what the group says of it is no matter here.
        if theirs != 0 && ours != 0 && theirs != ours {
            if theirs > ours && !is_retired {
                self.dismiss(Dismissal::Superseded { now: theirs });
            }
            return Err(Refusal::Superseded { old: theirs.min(ours), now: theirs.max(ours) });
        }
        if is_another {
            // Nor does the incarnation tell apart two that were recovered in the same millisecond: the node ids do.
            let gives_way = sender.is_some_and(|sender| peer.is_some_and(|own| own.node_id < sender.node_id));
            if from == self.raft_id && theirs != 0 && theirs == ours && gives_way {
                self.dismiss(Dismissal::Superseded { now: theirs });
            }
            return Err(Refusal::NotItself { said: from });
        }
        // Not before: who was recovered has another id than the one that former managers know, and has to tell them so.
        if to != self.raft_id {
            return Err(Refusal::NotMe { meant: to, me: self.raft_id });
        }
        if is_retired {
            return Err(Refusal::Retired(from));
        }
        Ok(())
    }

    /// What another manager said of a message of ours.
    pub(crate) fn refused(&self, why: Refusal) {
        match why {
            Refusal::Retired(_) => self.dismiss(Dismissal::Retired),
            Refusal::Superseded { now, .. } if now > self.incarnation() => self.dismiss(Dismissal::Superseded { now }),
            // Something else answers at that address, or the other one is the one to go.
            Refusal::Superseded { .. }
            | Refusal::OtherCluster { .. }
            | Refusal::NotMe { .. }
            | Refusal::NotItself { .. } => {}
        }
    }

    fn incarnation(&self) -> u64 {
        self.shared.read(|state| state.cluster().map_or(0, |cluster| cluster.incarnation))
    }

    fn dismiss(&self, why: Dismissal) {
        self.dismissed.send_if_modified(|held| {
            let first = held.is_none();
            held.get_or_insert(why);
            first
        });
    }
}

#[cfg(test)]
mod tests;
