//! `muster leave`: what is asked of the cluster before this host forgets it, and what an interrupted leave still owes.

use anyhow::bail;
use muster_agent::executor::Identity as Owner;
use muster_manager::ca::Keeper;
use muster_proto::{task_state::DesiredState, v1};

use crate::format::text::counted;

use super::{args::Args, engine, host::Force, managers::Managers, member::Member, record::Record};

/// Has the cluster let this node go. Refused where that would end the cluster or its quorum, unless it is forced.
pub(super) async fn part(member: &Member, force: Force) -> anyhow::Result<()> {
    if is_only_manager(member) {
        return match force {
            Force::Yes => Ok(()),
            Force::No => bail!("{}", ends_the_cluster(member)),
        };
    }
    ask(&member.managers(), member.record(), force).await
}

/// The same for a host that is a member by its record and runs nothing of it.
pub(super) async fn part_as(record: &Record, force: Force) -> anyhow::Result<()> {
    let keeper = Keeper::new(record.credentials()?)?;
    ask(&Managers { keeper, addresses: record.managers.clone() }, record, force).await
}

async fn ask(managers: &Managers, record: &Record, force: Force) -> anyhow::Result<()> {
    let request = v1::DepartRequest { force: force == Force::Yes };
    match (managers.depart(record.node_id, request).await, force) {
        (Ok(()), _) => Ok(()),
        (Err(error), Force::No) => {
            Err(error.context("the cluster did not let this node go; to leave it all the same, repeat with --force"))
        }
        (Err(error), Force::Yes) => {
            tracing::warn!(
                "leaving without the cluster's consent: {error:#}; take the node out with `muster node rm --force`"
            );
            Ok(())
        }
    }
}

/// By the cluster's own list: a node that is no manager of it any more, or has not heard of anything yet, is not.
fn is_only_manager(member: &Member) -> bool {
    let own = member.record().node_id;
    member
        .serving()
        .is_some_and(|manager| manager.replica().read(|state| state.managers().map(|manager| manager.id).eq([own])))
}

fn ends_the_cluster(member: &Member) -> String {
    let counts = member.manager().map(|manager| {
        manager.replica().read(|state| {
            let wanted = state.tasks().filter(|task| task.desired <= DesiredState::Running && task.is_active());
            (state.services().count(), wanted.count())
        })
    });
    let (services, tasks) = counts.unwrap_or_default();
    format!(
        "this node is the cluster's only manager: leaving ends the cluster and stops {} with {}; if that is what you want, \
         repeat with --force",
        counted(services, "service"),
        counted(tasks, "task")
    )
}

/// What an interrupted `leave` has left in the engine.
pub(super) async fn remove_containers(args: &Args, record: &Record) -> anyhow::Result<u32> {
    let executor = engine::choose(args, Owner { cluster_id: record.cluster_id, node_id: record.node_id });
    let mut removed = 0;
    for found in executor.list().await? {
        executor.remove(&found.container).await?;
        removed += 1;
    }
    Ok(removed)
}
