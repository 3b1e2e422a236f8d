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

/// Of a Raft id those that tell the managers of one incarnation apart: more than are ever made in one.
pub const RAFT_ID_BITS: u32 = 20;

/// The Raft id of the manager that goes on alone. One that nobody else ever had, nor has in a cluster that went on from
/// the same copy earlier: what is above [`RAFT_ID_BITS`] counts the seconds.
#[must_use]
pub fn next_raft_id(cluster: &Cluster, at: Timestamp) -> RaftId {
    let after_all_known = (cluster.next_raft_id.0 >> RAFT_ID_BITS).saturating_add(1);
    RaftId(after_all_known.max(at.millis() / 1_000) << RAFT_ID_BITS)
}

/// Higher than any of before, also where the copy is of before another recovery: so it counts the milliseconds.
fn next_incarnation(cluster: &Cluster, at: Timestamp) -> u64 {
    cluster.incarnation.saturating_add(1).max(at.millis())
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
    let raft_id = next_raft_id(cluster, at);
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
        assert!(raft_id.0 >= 1 << RAFT_ID_BITS, "4 and others may have been given since");
        let managers: Vec<_> = state.managers().map(|node| (node.id, node.raft_id)).collect();
        assert_eq!(managers, [(NodeId::from_bits(1), Some(raft_id))]);
        assert!((1..=4).chain([raft_id.0 - 1]).all(|id| state.is_retired(RaftId(id))) && !state.is_retired(raft_id));
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
        assert!(incarnation(first) < incarnation(first + Duration::from_millis(1)));
    }

    #[test]
    fn of_two_recoveries_from_one_copy_the_later_has_a_raft_id_that_the_earlier_never_gave() {
        let recovered = |at| recovered(lost(), &survivor(1, "10.0.0.1:7377"), at, TERM).expect("a cluster");
        let at = Timestamp::from_millis(1_700_000_000_000);
        let (mut earlier, _) = recovered(at);
        let (_, later) = recovered(at + Duration::from_secs(1));
        // It went on for long, and its survivor was let go.
        earlier.nodes.values_mut().for_each(|node| node.raft_id = None);
        let cluster = earlier.cluster.as_mut().expect("a cluster");
        cluster.next_raft_id = RaftId(cluster.next_raft_id.0 + 1_000_000);
        assert!(!earlier.is_retired(later));
        let again = next_raft_id(earlier.cluster().expect("a cluster"), Timestamp::EPOCH);
        assert!(!earlier.is_retired(again), "the clock was set back");
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
