//! `muster recover`: a cluster of this manager alone, from what it has, after the quorum is lost.
//!
//! The agent and its containers are not touched. The new store is made beside the present one; what the node will be is
//! written down before the one takes the other's place, so that the next daemon finishes what this one began.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use muster_core::{recovery::Survivor, rejection::Rejection};
use muster_manager::{
    recovery::{self, Recovered, RecoveryError},
    replica::ProposeError,
};
use muster_proto::version::RaftId;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};

use super::{data_dir::DataDir, host::Force, member::Member, record::Record};

/// A majority that answers does so within an election or two.
const QUORUM_MAX: Duration = Duration::from_secs(5);
/// Between two questions whether it does.
const AGAIN: Duration = Duration::from_millis(200);

/// What the node is once its new store is in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recovering {
    pub(super) raft_id: RaftId,
    pub(super) incarnation: u64,
    pub(super) advertise_addr: String,
}

/// Refused for who is no manager, and, unless forced, while a majority of the managers answers or this manager cannot
/// tell whether one does.
pub(super) async fn check(member: &Member, force: Force) -> anyhow::Result<()> {
    let manager = match (member.manager(), member.record().raft_id) {
        (Some(manager), _) => manager,
        (None, Some(_)) => bail!(
            "this node's manager does not run, because a change of it was not completed; restart the daemon, which \
             completes it, and repeat the command"
        ),
        (None, None) => bail!(
            "this node is no manager, and only a manager has what a cluster is recovered from; run the command on one"
        ),
    };
    match force {
        Force::Yes => Ok(()),
        Force::No => match quorum(manager).await {
            Quorum::Lost => Ok(()),
            Quorum::There(refusal) => bail!(refusal),
        },
    }
}

#[derive(Debug)]
enum Quorum {
    Lost,
    /// Or it may be; why nothing is done.
    There(String),
}

/// One answer that does not come says little: a leader under load misses one, too.
async fn quorum(manager: &muster_manager::Handle) -> Quorum {
    let deadline = Instant::now() + QUORUM_MAX;
    loop {
        let why = match timeout_at(deadline, manager.replica().barrier()).await {
            Err(_elapsed) => return Quorum::Lost,
            Ok(Ok(())) => return Quorum::There(NOT_LOST.to_owned()),
            Ok(Err(why)) => why,
        };
        match why {
            // A follower of a leader that is there.
            ProposeError::NotLeader { leader } => {
                return Quorum::There(format!("{NOT_LOST}; the leader is {leader}"));
            }
            ProposeError::Stopping => return Quorum::There(NO_MANAGER_ANY_MORE.to_owned()),
            why @ ProposeError::Failed(_) => {
                return Quorum::There(format!(
                    "{why}; start its daemon again, and repeat the command where the managers have no quorum then"
                ));
            }
            ProposeError::NoLeader
            | ProposeError::NoRoom
            | ProposeError::Busy
            | ProposeError::OlderManager { .. }
            | ProposeError::TooLarge { .. }
            | ProposeError::Unconfirmed => {
                if Instant::now() >= deadline {
                    return Quorum::Lost;
                }
                sleep(AGAIN).await;
            }
        }
    }
}

const NOT_LOST: &str = "the managers have a quorum, so nothing needs to be recovered; take single managers out with \
    `muster node demote` and `muster node rm`, or repeat with --force to go on without the other managers";

/// The others have let it go, or it is about to end.
const NO_MANAGER_ANY_MORE: &str = "this manager has stopped, because the others go on without it or because it is about \
    to stop, so what it has may be old; recover on a manager that the cluster still counts on, or repeat with --force \
    to go on from what this one has";

/// Makes the new store; the manager must have stopped.
pub(super) async fn prepare(
    data_dir: &DataDir,
    record: &Record,
    address: String,
) -> anyhow::Result<(Record, Recovered)> {
    let survivor = Survivor { id: record.node_id, address: address.clone(), certificate: None };
    recovery::discard(data_dir.path())?;
    let recovered = recovery::prepare(data_dir.path(), &survivor, super::now()).await.map_err(unprepared)?;
    let Recovered { raft_id, incarnation, .. } = recovered;
    let begun = Recovering { raft_id, incarnation, advertise_addr: address };
    let record = Record { recovering: Some(begun), ..record.clone() };
    record.write(&data_dir.member())?;
    Ok((record, recovered))
}

/// A manager that was to learn the state, and lost the others first, has none.
fn unprepared(why: RecoveryError) -> anyhow::Error {
    match why {
        RecoveryError::State(Rejection::NoCluster) => anyhow!(
            "this manager has not got the cluster's state from the others yet, so there is nothing here to go on from; run \
             the command on a manager that has it, or restore a backup with `muster restore` on a host in no cluster"
        ),
        why => why.into(),
    }
}

/// Puts the new store into its place. Repeated after a crash, it goes on where it was.
pub(super) fn finish(data_dir: &DataDir, record: Record) -> anyhow::Result<Record> {
    let Some(Recovering { raft_id, incarnation, advertise_addr }) = record.recovering.clone() else {
        // One that was begun and not written down is not wanted.
        recovery::discard(data_dir.path())?;
        return Ok(record);
    };
    recovery::put_in_place(data_dir.path()).context("the recovery is not complete; start the daemon again")?;
    let record = Record {
        raft_id: Some(raft_id),
        incarnation,
        managers: vec![advertise_addr.clone()],
        advertise_addr,
        recovering: None,
        ..record
    };
    record.write(&data_dir.member())?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_state_is_not_told_to_begin_a_cluster() {
        let said = unprepared(RecoveryError::State(Rejection::NoCluster)).to_string();
        assert!(said.contains("run the command on a manager that has it") && !said.contains("muster init"), "{said}");
    }
}
