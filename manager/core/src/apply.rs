//! One command changes the state. Total and deterministic: nothing that a request, a report or a plan can carry makes
//! it panic, because a committed entry that panics kills every manager at every restart. It checks again what its
//! proposer checked and answers with a [`crate::rejection::Rejection`].
//!
//! Called by the manager's state machine with every committed entry, in order. An entry of a format this version does
//! not know never gets here: the shell stops before it.

mod execute;
mod node;
mod report;
mod service;
mod steer;
#[cfg(test)]
mod tests;
mod touched;
mod trust;

use muster_proto::version::Version;

pub(crate) use self::node::void_until;
pub use self::touched::Touched;
use crate::{
    command::{Command, Entry, LogPosition, Outcome},
    rejection::Rejection,
    state::State,
};

/// The entry that is being applied.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    position: LogPosition,
    at: muster_proto::time::Timestamp,
}

impl Stamp {
    fn version(self) -> Version {
        Version(self.position.index)
    }
}

pub fn apply(state: &mut State, at: LogPosition, entry: &Entry) -> (Outcome, Touched) {
    let stamp = Stamp { position: at, at: entry.at.max(state.stamped) };
    state.applied = at;
    state.stamped = stamp.at;
    if let Some(first) = entry.request.and_then(|id| state.requests.outcome(id)) {
        return (first.clone(), Touched::default());
    }
    let mut touched = Touched::default();
    let outcome = match dispatch(state, stamp, &entry.command, &mut touched) {
        Ok(outcome) => outcome,
        Err(rejection) => {
            touched = Touched::default();
            Outcome::Rejected(rejection)
        }
    };
    if let Some(id) = entry.request {
        state.requests.remember(id, outcome.clone());
    }
    (outcome, touched)
}

fn dispatch(state: &mut State, stamp: Stamp, command: &Command, touched: &mut Touched) -> Result<Outcome, Rejection> {
    if let Command::CreateCluster { id, spec, node_id, node, address, founding } = command {
        let first = (*node_id, node, address.as_str());
        let version = node::create_cluster(state, stamp, (*id, spec), first, founding.as_deref(), touched)?;
        return Ok(Outcome::Done { version });
    }
    if state.cluster.is_none() {
        return Err(Rejection::NoCluster);
    }
    let version = match command {
        Command::CreateCluster { .. } => return Err(Rejection::ClusterExists),
        Command::CreateService { id, spec } => service::create(state, stamp, *id, spec, touched)?,
        Command::UpdateService { id, version, spec } => service::update(state, stamp, (*id, *version), spec, touched)?,
        Command::RollbackService { id, version } => service::roll_back(state, stamp, (*id, *version), touched)?,
        Command::SteerRollout { id, version, steer } => steer::steer(state, stamp, (*id, *version), *steer, touched)?,
        Command::RemoveService { id } => service::remove(state, stamp, *id, touched)?,
        Command::JoinNode { id, spec, address } => node::join(state, stamp, *id, spec, address, touched)?,
        Command::AdmitNode { id, spec, address, token, certificate, log_format } => {
            let newcomer = node::Newcomer { id: *id, spec, address, certificate, log_format: *log_format };
            node::admit(state, stamp, &newcomer, *token, touched)?
        }
        Command::CertifyNode { id, certificate, log_format } => {
            node::certify(state, stamp, *id, certificate, *log_format, touched)?
        }
        Command::RemoveNode { id } => node::remove(state, stamp, *id, touched)?,
        Command::ChangeRole { id, version, role } => node::change_role(state, stamp, (*id, *version), *role, touched)?,
        Command::UpdateCluster { version, spec } => node::update_cluster(state, stamp, *version, spec, touched)?,
        Command::CreateToken { token, others } => trust::create_token(state, stamp, token, *others)?,
        Command::RotateRoot { authority } => trust::rotate_root(state, stamp, authority, touched)?,
        Command::FinishRootRotation => trust::finish_rotation(state, stamp, touched)?,
        Command::UpdateNode { id, version, spec } => node::update(state, stamp, (*id, *version), spec, touched)?,
        Command::DescribeNode { id, description, address } => {
            node::describe(state, stamp, *id, description, address, touched)?
        }
        Command::ReportTasks { reports } => return Ok(report::apply_all(state, stamp, reports, touched)),
        Command::MoveTasks { moves } => return Ok(execute::move_all(state, stamp, moves, touched)),
        Command::Execute { term, actions } => return execute::apply_all(state, stamp, *term, actions, touched),
    };
    Ok(Outcome::Done { version })
}

/// `Done`, or `Partly` when some of a list's items were left out.
fn outcome_of_list(stamp: Stamp, stale: Vec<(u32, Rejection)>) -> Outcome {
    let version = stamp.version();
    if stale.is_empty() { Outcome::Done { version } } else { Outcome::Partly { version, stale } }
}
