//! What a caller counts as: what it showed, at this time, to a manager with this state. Pure.

use futures_util::future::BoxFuture;
use muster_proto::{id::NodeId, node::Role, time::Timestamp};

use crate::{
    ca::{Presented, Worthless},
    replica::Replica,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Through the port, without a certificate.
    Nobody,
    Worthless(Worthless),
    /// Long enough ago that it may do nothing but renew, and not longer.
    Expired(NodeId),
    Removed(NodeId),
    /// By its certificate a member in this role; this copy of the state has not heard of it.
    Unlisted {
        node: NodeId,
        role: Role,
    },
    Worker(NodeId),
    /// A manager by its certificate and a worker by this copy of the state: demoted, or promoted and the copy lags.
    Demoted(NodeId),
    Manager(NodeId),
    /// Through the local socket.
    Local,
}

/// What the replicated state says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Unlisted,
    Removed,
    Member(Role),
}

/// Whom this host knows as members.
pub trait Roll: std::fmt::Debug + Send + Sync + 'static {
    fn standing(&self, node: NodeId) -> Standing;

    /// Resolves once a standing may have changed since the call.
    fn changed(&self) -> BoxFuture<'static, ()>;
}

impl Roll for Replica {
    fn standing(&self, node: NodeId) -> Standing {
        self.read(|state| match state.node(node) {
            _ if state.was_removed(node) => Standing::Removed,
            Some(row) => Standing::Member(row.spec.role),
            None => Standing::Unlisted,
        })
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut applied = self.changes();
        Box::pin(async move {
            if applied.changed().await.is_err() {
                // The manager has ended, and its state with it.
                std::future::pending().await
            }
        })
    }
}

impl Caller {
    /// Of a connection through the port.
    #[must_use]
    pub fn of(presented: Presented, now: Timestamp, roll: &dyn Roll) -> Self {
        let identity = match presented {
            Presented::Nothing => return Self::Nobody,
            Presented::Worthless(why) => return Self::Worthless(why),
            Presented::Certificate(identity) => identity,
        };
        let node = identity.node_id;
        match (roll.standing(node), identity.role) {
            (Standing::Removed, _) => Self::Removed(node),
            _ if identity.expires_at < now => Self::Expired(node),
            (Standing::Unlisted, role) => Self::Unlisted { node, role },
            (Standing::Member(Role::Manager), Role::Manager) => Self::Manager(node),
            (Standing::Member(Role::Worker), Role::Manager) => Self::Demoted(node),
            // A worker, or one that is promoted and has no certificate for it yet.
            (Standing::Member(Role::Worker | Role::Manager), Role::Worker) => Self::Worker(node),
        }
    }
}
