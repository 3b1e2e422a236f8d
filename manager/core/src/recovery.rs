//! The state with which a cluster goes on after its managers were lost: with one manager, on the word of one copy.
//!
//! Called while no manager runs, by `recover` (on a survivor) and by `restore` (from a backup). Nothing of it goes
//! through a log: the result is what a new log begins with. What the copy does not hold is lost, and may have been seen
//! by agents; so that no number given out by the lost part is ever given again, counting goes on far beyond it.

use muster_proto::{
    cluster::Cluster,
    id::{NodeId, TaskId},
    node::{Node, NodeSpec, Role},
    time::Timestamp,
    trust::NodeCertificate,
    version::{RaftId, Term, Version},
};

use crate::{
    apply,
    command::{LOG_FORMAT, LogPosition},
    effect,
    rejection::Rejection,
    state::State,
};

/// More commands than a cluster carries out between a copy and the loss of its managers.
const NUMBERS_SKIPPED: u64 = 1 << 32;

/// More Raft ids than it gives out in that time. A manager that takes over must have one that nobody else ever had; and the
/// numbers are kept in 20 bits of a term, which is enough for a thousand recoveries.
const RAFT_IDS_SKIPPED: u64 = 1 << 10;

/// The Raft id of the manager that goes on alone.
#[must_use]
pub fn next_raft_id(cluster: &Cluster) -> RaftId {
    RaftId(cluster.next_raft_id.0.saturating_add(RAFT_IDS_SKIPPED))
}

/// Higher than any of before, also where the copy is of before another recovery: so it counts the seconds.
fn next_incarnation(cluster: &Cluster, at: Timestamp) -> u64 {
    cluster.incarnation.saturating_add(1).max(at.millis() / 1_000)
}

/// The one manager that is left, or that takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    pub id: NodeId,
    pub address: String,
    pub certificate: Option<NodeCertificate>,
}

/// The survivor's number in the new Raft group comes with the state.
///
/// Former managers stay nodes, because their agents may still run containers: as workers, whose Raft ids are retired.
/// A node that had the survivor's address is gone: its host is the survivor's now.
pub fn recovered(
    mut state: State,
    survivor: &Survivor,
    at: Timestamp,
    term: Term,
) -> Result<(State, RaftId), Rejection> {
    let index = state.applied.index.saturating_add(NUMBERS_SKIPPED);
    state.applied = LogPosition { term, index };
    let version = Version(index);
    let cluster = state.cluster.as_mut().ok_or(Rejection::NoCluster)?;
    let raft_id = next_raft_id(cluster);
    cluster.next_raft_id = RaftId(raft_id.0.saturating_add(1));
    cluster.incarnation = next_incarnation(cluster, at);
    cluster.version = version;

    let displaced = state.nodes().filter(|node| node.id != survivor.id && node.address == survivor.address);
    let displaced: Vec<NodeId> = displaced.map(|node| node.id).collect();
    displaced.into_iter().for_each(|id| displace(&mut state, id, at, version));
    for node in state.nodes.values_mut().filter(|node| node.raft_id.is_some()) {
        node.spec.role = Role::Worker;
        node.raft_id = None;
        node.version = version;
        node.updated_at = at;
    }
    let node = state.nodes.entry(survivor.id).or_insert_with(|| Node {
        id: survivor.id,
        version,
        created_at: at,
        updated_at: at,
        spec: NodeSpec::default(),
        description: None,
        address: String::new(),
        raft_id: None,
        certificate: None,
        certified_until: None,
        log_format: LOG_FORMAT,
    });
    node.spec.role = Role::Manager;
    node.raft_id = Some(raft_id);
    node.address.clone_from(&survivor.address);
    node.log_format = LOG_FORMAT;
    node.version = version;
    node.updated_at = at;
    if survivor.certificate.is_some() {
        node.certificate.clone_from(&survivor.certificate);
    }
    Ok((state, raft_id))
}

fn displace(state: &mut State, id: NodeId, at: Timestamp, version: Version) {
    let tasks: Vec<TaskId> = state.tasks_of_node(id).map(|task| task.id).collect();
    for task in tasks {
        state.edit_task(task, |task| {
            if task.status.state.is_final() {
                task.status.removed = true;
            } else {
                effect::orphan(task, at);
            }
            task.version = version;
        });
    }
    if let Some(node) = state.nodes.remove(&id) {
        let until = apply::void_until(state, &node);
        state.removed_nodes.insert(id, until);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muster_proto::{cluster::ClusterSpec, id::ClusterId};

    use super::*;
    use crate::plan::schedule::fixture::{self, NOW};

    const TERM: Term = Term(9);

    fn manager(number: u128) -> Node {
        let mut node = fixture::node(number);
        node.spec.role = Role::Manager;
        node.raft_id = Some(RaftId(u64::try_from(number).expect("small")));
        node
    }

    /// Three managers, a task on each of the first two.
    fn lost() -> State {
        let (nodes, service) = ([manager(1), manager(2), manager(3)], fixture::service(1));
        let tasks = [fixture::task(1, &service, 1, &nodes[0]), fixture::task(2, &service, 2, &nodes[1])];
        let (mut state, _) = fixture::cluster(nodes, tasks);
        state.put_service(service);
        state.cluster = Some(Cluster {
            id: ClusterId::from_bits(1),
            version: Version(1),
            created_at: NOW,
            spec: ClusterSpec::default(),
            next_raft_id: RaftId(4),
            former_lease: None,
            incarnation: 1,
        });
        state
    }

    fn survivor(number: u128, address: &str) -> Survivor {
        Survivor { id: NodeId::from_bits(number), address: address.to_owned(), certificate: None }
    }

    #[test]
    fn the_survivor_leads_alone_and_the_others_keep_their_tasks() {
        let before = lost();
        let (state, raft_id) = recovered(before.clone(), &survivor(1, "10.0.0.1:7377"), NOW, TERM).expect("a cluster");
        assert_eq!(raft_id, RaftId(4 + RAFT_IDS_SKIPPED), "4 may have been given since");
        let managers: Vec<_> = state.managers().map(|node| (node.id, node.raft_id)).collect();
        assert_eq!(managers, [(NodeId::from_bits(1), Some(raft_id))]);
        assert!((1..raft_id.0).all(|id| state.is_retired(RaftId(id))) && !state.is_retired(raft_id));
        assert_eq!(state.nodes().count(), 3);
        assert!(state.tasks().all(|task| task.is_active()), "containers are kept");
        assert!(state.cluster().map(|c| c.incarnation) > before.cluster().map(|c| c.incarnation));
        assert!(state.applied().index > before.applied().index + (1 << 31));
    }

    #[test]
    fn of_two_recoveries_from_one_copy_the_later_counts() {
        let incarnation = |at: Timestamp| {
            let (state, _) = recovered(lost(), &survivor(1, "10.0.0.1:7377"), at, TERM).expect("a cluster");
            state.cluster().map(|cluster| cluster.incarnation)
        };
        let first = Timestamp::from_millis(1_700_000_000_000);
        assert!(incarnation(first) < incarnation(first + Duration::from_secs(1)));
    }

    #[test]
    fn a_new_host_takes_an_old_address_over() {
        let (state, _) = recovered(lost(), &survivor(7, "10.0.0.2:7377"), NOW, TERM).expect("a cluster");
        assert!(state.node(NodeId::from_bits(2)).is_none() && state.was_removed(NodeId::from_bits(2)));
        let lost = state.task(TaskId::from_bits(2)).expect("kept as history");
        assert!(lost.status.state.is_final() && lost.status.removed);
        assert_eq!(state.managers().map(|node| node.id).collect::<Vec<_>>(), [NodeId::from_bits(7)]);
    }

    #[test]
    fn without_a_cluster_there_is_nothing_to_recover() {
        let refused = recovered(State::default(), &survivor(1, ""), NOW, TERM).map(|_| ());
        assert_eq!(refused, Err(Rejection::NoCluster));
    }
}
