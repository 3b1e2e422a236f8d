//! Tasks leave a drained node and come back to it, on three nodes with the simulated engine.

use muster_tests::{cluster::Cluster, daemon::Engine, wait};

use crate::MUSTER;

/// Tasks of `web` that run on the node.
fn on(cluster: &Cluster, ask: usize, node: &str) -> usize {
    let filter = ["node", "ps", "--filter", "desired-state=running", "--format", "{{.Name}} {{.CurrentState}}", node];
    let shown = cluster[ask].ok(&filter);
    shown.lines().filter(|line| line.starts_with("web.") && line.contains(" Running ")).count()
}

/// Six tasks of one service, and none on the last node: it was drained until its tasks had left.
fn crowded(parallelism: &str) -> (Cluster, String) {
    let cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 0);
    cluster.wait_ready(0);
    let create = ["service", "create", "--quiet", "--name", "web", "--replicas", "6", "--update-parallelism"];
    cluster[0].ok(&[&create[..], &[parallelism, "sim:1"]].concat());
    let id = cluster[2].node_id();
    let printed = cluster[1].run(&["node", "update", "--availability", "drain", "--wait", &id]);
    assert!(printed.status.success(), "{printed:#?}");
    assert!(printed.stderr.contains(&format!("node {id} is drained")), "{}", printed.stderr);
    assert_eq!(on(&cluster, 0, &id), 0);
    cluster[0].ok(&["node", "update", "--availability", "active", &id]);
    (cluster, id)
}

#[test]
fn a_rebalance_fills_the_node_that_came_back_and_comes_to_rest() {
    let (cluster, id) = crowded("1");
    let planned = cluster[1].ok(&["rebalance", "--dry-run", "--format", "{{.Service}} {{.Task}}"]);
    assert_eq!(planned.lines().count(), 2, "two of six: {planned}");
    assert_eq!(on(&cluster, 0, &id), 0, "a dry run changes nothing");
    let printed = cluster[2].run(&["rebalance"]);
    assert!(printed.status.success(), "{printed:#?}");
    assert!(printed.stderr.contains("2 of 2 tasks moved"), "{}", printed.stderr);
    assert_eq!(on(&cluster, 0, &id), 2);
    let printed = cluster[0].run(&["rebalance"]);
    assert!(printed.stderr.contains("nothing moves") && printed.stdout.is_empty(), "{printed:#?}");
    cluster[0].wait_running("web", 6);
}

/// Which tasks are to move is the cluster's knowledge, not the leader's. It is killed with nothing of the service on its own
/// node, since a task that ends with its host is replaced where it was, and moves no more.
#[test]
fn a_leader_killed_in_the_middle_of_a_rebalance_changes_nothing_about_it() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 0);
    cluster.wait_ready(0);
    let leader = cluster.leader();
    let (other, id) = ((leader + 1) % 3, cluster[(leader + 2) % 3].node_id());
    // A daemon that starves for longer than its lease would have its moves given up.
    cluster[leader].ok(&["cluster", "update", "--lease", "60s"]);
    let elsewhere = format!("node.id!={}", cluster[leader].node_id());
    let create = ["service", "create", "--quiet", "--name", "web", "--replicas", "6", "--constraint", &elsewhere];
    cluster[leader].ok(&[&create[..], &["sim:1"]].concat());
    let printed = cluster[other].run(&["node", "update", "--availability", "drain", "--wait", &id]);
    assert!(printed.status.success(), "{printed:#?}");
    cluster[other].ok(&["node", "update", "--availability", "active", &id]);

    assert_eq!(cluster.leader(), leader, "nothing of the service is on its node");
    cluster[leader].ok(&["rebalance", "--detach"]);
    cluster[leader].kill();
    cluster[leader].restart();
    cluster.wait_managers(other, 3);
    wait::until("three tasks to move", || match on(&cluster, other, &id) {
        3 => Ok(()),
        count => Err(count),
    });
    cluster[other].wait_running("web", 6);
}

#[test]
fn tasks_move_by_themselves_where_that_is_asked_for() {
    let (cluster, id) = crowded("2");
    cluster[1].ok(&["cluster", "update", "--auto-rebalance", "true"]);
    assert_eq!(cluster[2].ok(&["cluster", "inspect", "--format", "{{.Spec.Orchestration.AutoRebalance}}"]), "true");
    wait::until("two tasks to move", || match on(&cluster, 0, &id) {
        2 => Ok(()),
        count => Err(count),
    });
    cluster[0].wait_running("web", 6);
}
