//! Changes to nodes: check, propose, answer.

use std::time::Duration;

use muster_core::{command::Command, plan::stranded, state::State};
use muster_proto::{
    id::NodeId,
    node::{Availability, Node, NodeChange, NodeSpec, NodeState, Role},
    task::Task,
    v1, validate,
    version::Version,
};
use tokio::time::{sleep, timeout};
use tonic::Status;

use super::{Control, Known, draining, lookup, request::Asked};
use crate::{
    managers::{Group, Turn},
    quorum, status,
};

/// Longer than the usual lease, and short enough for whoever waits.
const STATE_MAX: Duration = Duration::from_secs(5);
/// Between looks at a lease.
const STATE_POLL: Duration = Duration::from_millis(50);

/// Who is to be taken out.
struct Leaver {
    node: Node,
    name: String,
}

/// What is to be done about the role that was asked for.
enum RoleDue {
    /// It is the node's, or none was named.
    Same,
    /// The same call has changed it before.
    Done(Version),
    /// Nobody else is made a worker while this one is.
    Other { role: Role, _turn: Option<Turn> },
}

impl Control {
    pub(super) async fn change_node(
        &self,
        asked: Asked,
        request: v1::UpdateNodeRequest,
    ) -> Result<v1::UpdateNodeResponse, Status> {
        let (wanted, read) = (request.node.clone(), Version(request.version));
        let change = NodeChange::try_from(request).map_err(|error| status::malformed(&error))?;
        validate::node_change(&change).map_err(|error| status::malformed(&error))?;
        self.up_to_date().await?;
        let id = self.handle.replica.read(|state| lookup::node_id(state, &wanted))?;
        let (mut warnings, mut begins_drain) = (Vec::new(), change.availability == Availability::Drain);
        let role = match change.role {
            Some(role) => self.role_due(asked, id, role, &mut warnings).await?,
            None => RoleDue::Same,
        };
        let movable = match begins_drain {
            true => self.handle.replica.read(|state| stranded::movable(state, id)),
            false => Vec::new(),
        };
        let version = match self.look(asked.second(), |state| lookup::member(state, id).cloned())? {
            Known::Done(version) => version,
            Known::New(node) => {
                begins_drain &= node.spec.availability != Availability::Drain;
                let spec = NodeSpec { availability: change.availability, labels: change.labels, ..node.spec.clone() };
                if change.role.is_some() && spec == node.spec {
                    read
                } else {
                    self.propose(asked.second(), Command::UpdateNode { id, version: read, spec }).await?
                }
            }
        };
        if begins_drain {
            warnings.extend(self.stranded(id, &movable));
        }
        // Last: a node that is made a worker is cut off as a manager at once, and this call with it where it is its own.
        let version = match role {
            RoleDue::Same => version,
            RoleDue::Done(changed) => changed.max(version),
            RoleDue::Other { role, _turn } => {
                let version = self.propose(asked.first(), Command::ChangeRole { id, version, role }).await?;
                warnings.extend(self.advice());
                version
            }
        };
        Ok(v1::UpdateNodeResponse { version: version.0, warnings })
    }

    /// Whether the role is to be changed, refused where it must not be: before anything is.
    async fn role_due(
        &self,
        asked: Asked,
        id: NodeId,
        role: Role,
        warnings: &mut Vec<String>,
    ) -> Result<RoleDue, Status> {
        let node = match self.look(asked.first(), |state| lookup::member(state, id).cloned())? {
            Known::Done(version) => return Ok(RoleDue::Done(version)),
            Known::New(node) if node.spec.role == role => return Ok(RoleDue::Same),
            Known::New(node) => node,
        };
        let mut turn = None;
        match role {
            Role::Worker => turn = Some(self.handle.can_do_without(id).await?),
            Role::Manager if self.handle.leases.state(id) == NodeState::Down => warnings.push(format!(
                "node {} is down; it becomes a manager once its daemon is up again",
                lookup::name(&node)
            )),
            Role::Manager => {}
        }
        Ok(RoleDue::Other { role, _turn: turn })
    }

    /// A leader that has just begun has not heard of anybody: a node that is up says so within its lease.
    async fn known_state(&self, id: NodeId) -> NodeState {
        let known = async {
            while self.handle.leases.state(id) == NodeState::Unknown {
                sleep(STATE_POLL).await;
            }
        };
        // It is looked at once more in any case.
        let _ = timeout(STATE_MAX, known).await;
        self.handle.leases.state(id)
    }

    /// Waits for a node that was a manager until a moment ago.
    async fn let_go(&self, id: NodeId, name: &str) -> Result<(), Status> {
        match self.handle.out_of_group(id, None).await? {
            Group::Out => Ok(()),
            Group::In => Err(still_in_group(name)),
        }
    }

    /// What the drain of the node cannot move. It is under way, and says so itself only to whoever waits for it.
    fn stranded(&self, id: NodeId, movable: &[Task]) -> Option<String> {
        let (liveness, now) = (self.handle.leases.liveness(), self.handle.outside.clock.now());
        self.handle.replica.read(|state| {
            let name = lookup::name(state.node(id)?);
            draining::warning(state, &name, &stranded::stranded(state, &liveness, now, id, movable))
        })
    }

    fn advice(&self) -> Option<String> {
        quorum::advice(self.handle.replica.read(|state| state.managers().count()))
    }

    pub(super) async fn remove_member(
        &self,
        asked: Asked,
        request: v1::RemoveNodeRequest,
    ) -> Result<v1::RemoveNodeResponse, Status> {
        self.up_to_date().await?;
        let Leaver { node, name } = match self.look(asked.first(), |state| leaver(state, &request.node))? {
            Known::Done(_) => return Ok(v1::RemoveNodeResponse::default()),
            Known::New(leaver) => leaver,
        };
        let (id, mut turn) = (node.id, None);
        match (node.raft_id, request.force) {
            (Some(_), false) => {
                return Err(Status::failed_precondition(format!(
                    "node {name} is a manager; demote it first with `muster node demote {name}`, or repeat with --force \
                     where it is lost for good"
                )));
            }
            (Some(_), true) if id == self.handle.config.node_id => {
                return Err(Status::failed_precondition(format!(
                    "node {name} leads the managers; demote it first with `muster node demote {name}`, or run `muster \
                     leave` on it"
                )));
            }
            (Some(_), true) => turn = Some(self.handle.can_do_without(id).await?),
            (None, false) => match self.known_state(id).await {
                NodeState::Ready => return Err(still_up(&name)),
                NodeState::Unknown => return Err(not_known_yet(&name)),
                NodeState::Down => self.let_go(id, &name).await?,
            },
            (None, true) => {}
        }
        self.propose(asked.first(), Command::RemoveNode { id }).await?;
        drop(turn);
        let warnings = node.raft_id.and_then(|_| self.advice());
        Ok(v1::RemoveNodeResponse { warnings: warnings.into_iter().collect() })
    }
}

fn still_in_group(name: &str) -> Status {
    Status::unavailable(format!("the managers have not let node {name} go yet; repeat the command in a moment"))
}

fn not_known_yet(name: &str) -> Status {
    Status::unavailable(format!(
        "whether node {name} is up is not known yet, as the managers have a new leader; repeat the command in a moment, or \
         with --force"
    ))
}

fn still_up(name: &str) -> Status {
    Status::failed_precondition(format!(
        "node {name} is up and would go on running its tasks; drain it with `muster node update --availability drain \
         {name}` and run `muster leave` on it, or repeat with --force"
    ))
}

fn leaver(state: &State, wanted: &str) -> Result<Leaver, Status> {
    let node = lookup::node(state, wanted)?;
    Ok(Leaver { node: node.clone(), name: lookup::name(node) })
}
