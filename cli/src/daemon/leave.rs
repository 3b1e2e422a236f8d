//! `muster leave`: what is asked of the cluster before this host forgets it, and what an interrupted leave still owes.

use anyhow::{anyhow, bail};
use muster_agent::executor::Identity as Owner;
use muster_manager::ca::Keeper;
use muster_proto::{id::NodeId, node::Role, task_state::DesiredState, v1};

use crate::format::text::counted;

use super::{
    args::Args,
    engine,
    host::Force,
    managers::{AskError, Managers},
    member::Member,
    record::Record,
    whereabouts::Whereabouts,
};

/// Has the cluster let this node go. Refused where that would end the cluster or its quorum, unless it is forced. Returns
/// what the cluster has to know of now.
pub(super) async fn part(member: &Member, force: Force) -> anyhow::Result<Vec<String>> {
    if is_only_manager(member) {
        return match force {
            Force::Yes => Ok(Vec::new()),
            Force::No => bail!("{}", ends_the_cluster(member)),
        };
    }
    // By this manager's own copy: who is let go is cut off at once, and with it what the leader has to say.
    let advice = member.serving().and_then(|manager| manager.advice_without(member.record().node_id));
    let warnings = ask(&member.managers(), member.record(), force).await?;
    Ok(if warnings.is_empty() { advice.into_iter().collect() } else { warnings })
}

/// The same for a host that is a member by its record and runs nothing of it.
pub(super) async fn part_as(record: &Record, managers: &Whereabouts, force: Force) -> anyhow::Result<Vec<String>> {
    let keeper = Keeper::new(record.credentials()?)?;
    ask(&Managers { keeper, addresses: managers.all() }, record, force).await
}

/// Also who is forced asks first: what the cluster has against it is what to see to afterwards.
async fn ask(managers: &Managers, record: &Record, force: Force) -> anyhow::Result<Vec<String>> {
    let depart = |force| managers.depart(record.node_id, v1::DepartRequest { force });
    let why_not = match (depart(false).await, force) {
        (Ok(()), _) => return Ok(Vec::new()),
        (Err(why), Force::No) => return Err(anyhow!("{}", refusal(&why, record.node_id, record.role))),
        (Err(why), Force::Yes) => why,
    };
    let outcome = match &why_not {
        AskError::Refused(_) => depart(true).await,
        AskError::Unheard(_) | AskError::Nobody => Ok(()),
    };
    let warnings = consequences(&why_not, outcome.err().as_ref(), record.node_id, record.role);
    warnings.iter().for_each(|warning| tracing::warn!("this node leaves all the same: {warning}"));
    Ok(warnings)
}

/// First what is safe, and what the other way costs.
fn refusal(why: &AskError, id: NodeId, role: Role) -> String {
    match (why, role) {
        (AskError::Refused(_), Role::Manager) => format!(
            "the cluster did not let this node go: {why}; only where that cannot be, leave with --force: the managers that \
             are left may be too few then to change anything"
        ),
        (AskError::Refused(_), Role::Worker) => format!(
            "the cluster did not let this node go: {why}; with --force it leaves all the same, and stays in the cluster's \
             list until `muster node rm --force {id}`"
        ),
        (AskError::Unheard(_) | AskError::Nobody, Role::Manager | Role::Worker) => format!(
            "the cluster was not told that this node leaves: {why}; repeat the command once a manager can be reached, or \
             leave with --force, and take the node out with `muster node rm --force {id}` on a manager later"
        ),
    }
}

/// Of leaving although `why_not`; `untold`: to the end, the cluster has not taken the node out.
fn consequences(why_not: &AskError, untold: Option<&AskError>, id: NodeId, role: Role) -> Vec<String> {
    let mut warnings = Vec::new();
    let untold = match why_not {
        AskError::Refused(_) => untold,
        AskError::Unheard(_) | AskError::Nobody => Some(why_not),
    };
    if let (AskError::Refused(_), Role::Manager) = (why_not, role) {
        warnings.push(format!(
            "{}; where the managers that are left have no leader now, bring the others back up, or run `muster recover` on \
             the one that is to go on",
            why_not.happened()
        ));
    }
    warnings.extend(untold.map(|why| {
        format!(
            "the cluster does not know that this node has left: {}; take it out with `muster node rm --force {id}` on a \
             manager",
            why.happened()
        )
    }));
    warnings
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
            (state.services().count(), wanted.count(), state.nodes().count().saturating_sub(1))
        })
    });
    let (services, tasks, others) = counts.unwrap_or_default();
    let (services, tasks) = (counted(services, "service"), counted(tasks, "task"));
    match others {
        0 => format!(
            "this node is the cluster's only manager: leaving ends the cluster and stops {services} with {tasks}; if that is \
             what you want, repeat with --force"
        ),
        _ => format!(
            "this node is the cluster's only manager; make another node one first with `muster node promote`, or end the \
             cluster, with {services} and {tasks}, by repeating the command with --force"
        ),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: NodeId = NodeId::from_bits(7);

    fn few_left() -> AskError {
        AskError::Refused("without it only 1 of 2 managers would be up; bring the others back up first".to_owned())
    }

    fn unheard() -> AskError {
        AskError::Unheard("10.0.0.1:7377 did not answer in time".to_owned())
    }

    #[test]
    fn a_refusal_says_the_safe_way_first_and_what_force_costs() {
        let said = refusal(&few_left(), ID, Role::Manager);
        let (safe, forced) = (said.find("bring the others back up"), said.find("--force"));
        assert!(safe.is_some() && safe < forced && said.contains("too few then to change anything"), "{said}");
        for role in [Role::Worker, Role::Manager] {
            let said = refusal(&unheard(), ID, role);
            let (safe, forced) = (said.find("repeat the command"), said.find("--force"));
            assert!(safe.is_some() && safe < forced, "{said}");
            assert!(said.contains(&format!("`muster node rm --force {ID}`")), "{said}");
        }
    }

    #[test]
    fn who_left_all_the_same_is_told_what_is_to_be_seen_to() {
        let quorum = "without it only 1 of 2 managers would be up; where the managers that are left have no leader now";
        let said = consequences(&few_left(), None, ID, Role::Manager);
        assert!(said.len() == 1 && said[0].starts_with(quorum) && said[0].contains("`muster recover`"), "{said:?}");
        let untold = format!("10.0.0.1:7377 did not answer in time; take it out with `muster node rm --force {ID}`");
        let said = consequences(&few_left(), Some(&unheard()), ID, Role::Manager);
        assert!(said.len() == 2 && said[0].starts_with(quorum) && said[1].contains(&untold), "{said:?}");
        let said = consequences(&unheard(), None, ID, Role::Worker);
        assert!(said.len() == 1 && said[0].contains(&untold), "{said:?}");
        assert_eq!(consequences(&few_left(), None, ID, Role::Worker), Vec::<String>::new());
    }
}
