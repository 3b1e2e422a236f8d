//! Who may call what: one table of every RPC, and what each kind of caller may ask. What is not in it is denied.
//!
//! [`Authorize`] asks it for each call, at the port for nodes and at the local socket. A caller's role has to hold in its
//! certificate and in the replicated state; whichever says less counts. Rules about single objects (a worker reports
//! only on its own tasks, a session is that of the certificate's node) belong to the services, which ask
//! [`crate::ca::peer`]. Deciding is pure; deliberately absent is who a caller is, which [`crate::ca`] says.

mod caller;
mod layer;
#[cfg(test)]
mod tests;

pub use caller::{Caller, Roll, Standing};
pub use layer::Authorize;

use muster_proto::{id::NodeId, node::Role};
use tonic::{Code, Status};

use crate::ca::Worthless;

/// What stands in the table for a connection that an agent passes on, which is no RPC.
pub const RELAY: &str = "muster-relay";

/// Whom an RPC is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Audience {
    /// The command line of this host.
    Host,
    /// The command line, here or passed on by another manager.
    Users,
    /// Every member, also one that this manager has not heard of yet: the service asks the leader's state.
    Nodes,
    /// Managers by their certificate, whatever this one's copy of the state says of their role, which may lag behind:
    /// a new leader must not be refused by who is to learn of it. Which Raft ids count is the transport's affair.
    Managers,
    /// Hosts without a certificate, here or passed on by another manager.
    Newcomers,
    /// Members, and those whose certificate has expired.
    Renewers,
}

const CONTROL: &str = "muster.v1.Control";
const LOCAL: &str = "muster.v1.Local";
const MEMBERSHIP: &str = "muster.v1.Membership";
const RAFT: &str = "muster.v1.Raft";
const WHEREABOUTS: &str = "muster.v1.Whereabouts";

/// Service, method, audience. A test compares it with the .proto files.
const TABLE: &[(&str, &str, Audience)] = &[
    ("muster.v1.Dispatcher", "Session", Audience::Nodes),
    (MEMBERSHIP, "Join", Audience::Newcomers),
    (MEMBERSHIP, "Renew", Audience::Renewers),
    (MEMBERSHIP, "Depart", Audience::Nodes),
    (RAFT, "Append", Audience::Managers),
    (RAFT, "Vote", Audience::Managers),
    (RAFT, "InstallSnapshot", Audience::Managers),
    (RAFT, "Elect", Audience::Managers),
    (WHEREABOUTS, "Tell", Audience::Managers),
    (CONTROL, "CreateService", Audience::Users),
    (CONTROL, "UpdateService", Audience::Users),
    (CONTROL, "RollbackService", Audience::Users),
    (CONTROL, "PauseRollout", Audience::Users),
    (CONTROL, "ResumeRollout", Audience::Users),
    (CONTROL, "PromoteService", Audience::Users),
    (CONTROL, "RemoveService", Audience::Users),
    (CONTROL, "GetService", Audience::Users),
    (CONTROL, "ListServices", Audience::Users),
    (CONTROL, "WatchService", Audience::Users),
    (CONTROL, "ListTasks", Audience::Users),
    (CONTROL, "ServiceLogs", Audience::Users),
    (CONTROL, "GetNode", Audience::Users),
    (CONTROL, "UpdateNode", Audience::Users),
    (CONTROL, "ListNodes", Audience::Users),
    (CONTROL, "RemoveNode", Audience::Users),
    (CONTROL, "GetCluster", Audience::Users),
    (CONTROL, "UpdateCluster", Audience::Users),
    (CONTROL, "Rebalance", Audience::Users),
    (CONTROL, "GetJoinToken", Audience::Users),
    (CONTROL, "RotateCa", Audience::Users),
    (CONTROL, "Backup", Audience::Users),
    (LOCAL, "Init", Audience::Host),
    (LOCAL, "Join", Audience::Host),
    (LOCAL, "Leave", Audience::Host),
    (LOCAL, "Info", Audience::Host),
    (LOCAL, "Restore", Audience::Host),
    (LOCAL, "Recover", Audience::Host),
];

/// Why not, for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("this muster does not know the call; run the same version on all nodes")]
    Unknown,
    #[error("the call carries no certificate and is for members of the cluster; join this host with `muster join`")]
    NoCertificate,
    #[error(
        "the certificate that was shown is not of this cluster's CA; run `muster leave --force` on its node and join it \
         again"
    )]
    OtherAuthority,
    #[error(
        "the certificate that was shown expired too long ago to be renewed; run `muster leave --force` on its node and \
         join it again"
    )]
    LongExpired,
    #[error("the certificate that was shown is not valid yet by this manager's clock; set the clocks of both hosts")]
    NotYetValid,
    #[error("the certificate of node {0} has expired; its daemon renews it by itself, so try again in a moment")]
    Expired(NodeId),
    #[error("node {0} was removed from this cluster; run `muster leave --force` there and join it again")]
    Removed(NodeId),
    #[error("this manager does not know node {0} yet; try again in a moment")]
    Unlisted(NodeId),
    #[error("node {0} is a worker and this is for managers; run the command on a manager, or promote the node first")]
    Worker(NodeId),
    #[error("node {0} is a member already; leave the cluster first with `muster leave`")]
    Member(NodeId),
    #[error("this is answered on the host itself only; run the command there")]
    HostOnly,
    #[error("this is for nodes, through the port for nodes; run one of the commands that `muster --help` lists")]
    NodesOnly,
}

impl Denied {
    #[must_use]
    pub fn status(&self) -> Status {
        let code = match self {
            Self::Unknown => Code::Unimplemented,
            Self::NoCertificate | Self::OtherAuthority | Self::LongExpired | Self::NotYetValid | Self::Expired(_) => {
                Code::Unauthenticated
            }
            Self::Unlisted(_) => Code::Unavailable,
            Self::Removed(_) | Self::Worker(_) | Self::Member(_) | Self::HostOnly | Self::NodesOnly => {
                Code::PermissionDenied
            }
        };
        Status::new(code, self.to_string())
    }
}

/// Whether the caller may make the call. `rpc` is `<service>/<method>`, with or without a slash before it, or [`RELAY`].
pub fn decide(rpc: &str, caller: Caller) -> Result<(), Denied> {
    admit(audience(rpc).ok_or(Denied::Unknown)?, caller)
}

/// All that may be called by anybody, as `<service>/<method>`.
pub fn rpcs() -> impl Iterator<Item = String> {
    TABLE.iter().map(|(service, method, _)| format!("{service}/{method}"))
}

fn audience(rpc: &str) -> Option<Audience> {
    if rpc == RELAY {
        return Some(Audience::Nodes);
    }
    let (service, method) = rpc.strip_prefix('/').unwrap_or(rpc).split_once('/')?;
    TABLE.iter().find(|row| (row.0, row.1) == (service, method)).map(|row| row.2)
}

/// A column of the table for each kind of caller.
fn admit(audience: Audience, caller: Caller) -> Result<(), Denied> {
    use Audience::{Host, Managers, Newcomers, Nodes, Renewers, Users};
    match caller {
        // Whoever may open the socket may do anything on this host.
        Caller::Local => match audience {
            Host | Users => Ok(()),
            Nodes | Managers | Newcomers | Renewers => Err(Denied::NodesOnly),
        },
        Caller::Manager(_) => match audience {
            // Users' commands and hosts' joins are passed on by the manager that got them.
            Users | Nodes | Managers | Newcomers | Renewers => Ok(()),
            Host => Err(Denied::HostOnly),
        },
        Caller::Worker(node) => match audience {
            Nodes | Renewers => Ok(()),
            Newcomers => Err(Denied::Member(node)),
            Users | Managers => Err(Denied::Worker(node)),
            Host => Err(Denied::HostOnly),
        },
        Caller::Demoted(node) => match audience {
            Nodes | Renewers | Managers => Ok(()),
            Newcomers => Err(Denied::Member(node)),
            Users => Err(Denied::Worker(node)),
            Host => Err(Denied::HostOnly),
        },
        Caller::Unlisted { node, role } => match (audience, role) {
            (Nodes | Renewers, Role::Worker | Role::Manager) | (Managers, Role::Manager) => Ok(()),
            (Newcomers, Role::Worker | Role::Manager) => Err(Denied::Member(node)),
            (Users, Role::Manager) => Err(Denied::Unlisted(node)),
            (Users | Managers, Role::Worker) => Err(Denied::Worker(node)),
            (Host, Role::Worker | Role::Manager) => Err(Denied::HostOnly),
        },
        Caller::Expired(node) => match audience {
            Renewers => Ok(()),
            Host | Users | Nodes | Managers | Newcomers => Err(Denied::Expired(node)),
        },
        Caller::Nobody => match audience {
            // The token in the call speaks for the host.
            Newcomers => Ok(()),
            Host | Users | Nodes | Managers | Renewers => Err(Denied::NoCertificate),
        },
        Caller::Removed(node) => Err(Denied::Removed(node)),
        Caller::Worthless(Worthless::OtherAuthority) => Err(Denied::OtherAuthority),
        Caller::Worthless(Worthless::LongExpired) => Err(Denied::LongExpired),
        Caller::Worthless(Worthless::NotYetValid) => Err(Denied::NotYetValid),
    }
}
