//! What the Raft log carries. Everything a command needs is in it: the leader has stamped time and ids.

use muster_proto::{
    assignment::TaskReport,
    cluster::ClusterSpec,
    id::{ClusterId, NodeId, RequestId, ServiceId, TaskId, TokenId},
    isolation::OnIsolation,
    node::{NodeDescription, NodeSpec, Role},
    service::ServiceSpec,
    time::Timestamp,
    trust::{CertificateAuthority, NodeCertificate, Token},
    version::{Term, Version},
};
use serde::{Deserialize, Serialize};

use crate::{action::Action, rejection::Rejection};

/// Counted up when a manager of the version before could misread an entry. An entry of a higher format stops a manager
/// with a clear message; it is never skipped.
pub const LOG_FORMAT: u16 = 3;

/// One manager: services, tasks, rollouts.
pub(crate) const FIRST: u16 = 1;
/// Several managers: the cluster's trust, tokens, roles, requests that are remembered.
pub const SEVERAL_MANAGERS: u16 = 2;
/// Tasks that move to other nodes while they run.
pub const REBALANCE: u16 = 3;

/// Where an entry stands in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPosition {
    pub term: Term,
    pub index: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub format: u16,
    /// The leader's clock when it proposed.
    pub at: Timestamp,
    /// Whose repetition is answered with the first outcome. None for what no user asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    pub command: Command,
}

impl Entry {
    /// In the lowest format that can carry it, so that managers of the version before keep reading what they can.
    #[must_use]
    pub fn new(at: Timestamp, request: Option<RequestId>, command: Command) -> Self {
        let format = if request.is_some() { SEVERAL_MANAGERS } else { FIRST };
        Self { format: format.max(command.format()), at, request, command }
    }
}

/// What a cluster with a certificate authority begins with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    pub authority: CertificateAuthority,
    /// Of the first node.
    pub certificate: NodeCertificate,
    /// The standing ones.
    pub tokens: Vec<Token>,
    pub log_format: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// The first entry of a cluster: the cluster and its first node.
    CreateCluster {
        id: ClusterId,
        spec: ClusterSpec,
        node_id: NodeId,
        node: NodeSpec,
        address: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        founding: Option<Box<Founding>>,
    },
    /// What its operator wants of the cluster. Refused when the cluster is no longer at `version`.
    UpdateCluster {
        version: Version,
        spec: Box<ClusterSpec>,
    },
    CreateService {
        id: ServiceId,
        spec: Box<ServiceSpec>,
    },
    /// Refused when the service is no longer at `version`.
    UpdateService {
        id: ServiceId,
        version: Version,
        spec: Box<ServiceSpec>,
    },
    /// Back to the previous spec, by hand.
    RollbackService {
        id: ServiceId,
        version: Version,
    },
    RemoveService {
        id: ServiceId,
    },
    /// Pause, resume or promote, by hand. Refused when the service is no longer at `version`.
    SteerRollout {
        id: ServiceId,
        version: Version,
        steer: Steer,
    },
    /// A node becomes a member.
    JoinNode {
        id: NodeId,
        spec: NodeSpec,
        address: String,
    },
    /// A host becomes a member by a token, which is used up by one. Repeated with the same key it changes nothing.
    AdmitNode {
        id: NodeId,
        spec: NodeSpec,
        address: String,
        token: TokenId,
        certificate: NodeCertificate,
        log_format: u16,
    },
    /// A node was given its next certificate, in the role that it has; refused when that is another by now.
    CertifyNode {
        id: NodeId,
        certificate: NodeCertificate,
        log_format: u16,
    },
    /// A node is a member no more. Refused for the last manager.
    RemoveNode {
        id: NodeId,
    },
    /// Beside the tokens there are; those of its role are voided first where that is said.
    CreateToken {
        token: Token,
        others: OtherTokens,
    },
    /// A new root signs from now on; the present one stays trusted until [`Command::FinishRootRotation`]. Voids all
    /// tokens. Refused while an earlier rotation is under way.
    RotateRoot {
        authority: CertificateAuthority,
    },
    /// Every node has shown a certificate of the new root. Refused while one has not.
    FinishRootRotation,
    /// Makes a node a manager, or no manager any more. Refused when the node is no longer at `version`, and for the
    /// last manager.
    ChangeRole {
        id: NodeId,
        version: Version,
        role: Role,
    },
    /// What its operator wants of a node, but for its role. Refused when the node is no longer at `version`.
    UpdateNode {
        id: NodeId,
        version: Version,
        spec: NodeSpec,
    },
    /// What an agent says of its node; a new address too.
    DescribeNode {
        id: NodeId,
        description: Box<NodeDescription>,
        address: String,
    },
    /// What agents say of their tasks. A report under a superseded fence is left out alone.
    ReportTasks {
        reports: Vec<(NodeId, TaskReport)>,
    },
    /// Running tasks are to be replaced by others on other nodes. One that changed since is left out alone.
    MoveTasks {
        moves: Vec<Move>,
    },
    /// A plan made in `term`. As a whole void when the entry's own term is another.
    Execute {
        term: Term,
        actions: Vec<Action>,
    },
}

/// A task that is to make way for one on another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub task: TaskId,
    pub version: Version,
    pub to: NodeId,
}

/// What an operator makes of a rollout that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steer {
    Pause,
    Resume,
    Promote,
}

/// What becomes of a role's earlier tokens when it gets a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OtherTokens {
    Kept,
    Voided,
}

impl Command {
    /// The lowest log format that has this command. A cluster accepts it once all its managers read that format.
    #[must_use]
    pub fn format(&self) -> u16 {
        match self {
            Command::CreateCluster { founding: None, .. }
            | Command::RollbackService { .. }
            | Command::RemoveService { .. }
            | Command::JoinNode { .. }
            | Command::UpdateNode { .. }
            | Command::DescribeNode { .. }
            | Command::ReportTasks { .. } => FIRST,
            Command::CreateService { spec, .. } | Command::UpdateService { spec, .. } => {
                let is_newer = spec.task.on_isolation != OnIsolation::Keep || spec.update.canary > 0;
                if is_newer { SEVERAL_MANAGERS } else { FIRST }
            }
            Command::Execute { actions, .. } => actions.iter().map(Action::format).max().unwrap_or(FIRST),
            Command::UpdateCluster { spec, .. } if spec.auto_rebalance => REBALANCE,
            Command::MoveTasks { .. } => REBALANCE,
            Command::CreateCluster { founding: Some(_), .. }
            | Command::UpdateCluster { .. }
            | Command::SteerRollout { .. }
            | Command::AdmitNode { .. }
            | Command::CertifyNode { .. }
            | Command::RemoveNode { .. }
            | Command::ChangeRole { .. }
            | Command::CreateToken { .. }
            | Command::RotateRoot { .. }
            | Command::FinishRootRotation => SEVERAL_MANAGERS,
        }
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Applied; the version is that of the object it was about, else the log index.
    Done { version: Version },
    /// Nothing was changed.
    Rejected(Rejection),
    /// Applied but for the stale items: their places in the list and why.
    Partly { version: Version, stale: Vec<(u32, Rejection)> },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager of the version before would take the entry for another, or keep another state of it.
    #[test]
    fn what_moves_tasks_needs_managers_that_know_of_it() {
        let update = |auto_rebalance| Command::UpdateCluster {
            version: Version(1),
            spec: Box::new(ClusterSpec { auto_rebalance, ..ClusterSpec::default() }),
        };
        let (id, version) = (TaskId::from_bits(1), Version(1));
        let plan = |action| Command::Execute { term: Term(1), actions: vec![action] };
        let kept = [Command::MoveTasks { moves: Vec::new() }, update(true), plan(Action::KeepTask { id, version })];
        assert!(kept.iter().all(|command| command.format() == REBALANCE && REBALANCE <= LOG_FORMAT));
        assert_eq!(update(false).format(), SEVERAL_MANAGERS);
        assert_eq!(plan(Action::OrphanTask { id, version }).format(), FIRST);
    }
}
