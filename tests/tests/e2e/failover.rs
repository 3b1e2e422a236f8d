//! Nodes and leaders that fail: what runs again elsewhere, and what must not restart. Conditions, not seconds; the figures
//! are the benchmarks'.

use std::collections::BTreeSet;

use muster_tests::{
    cluster::Cluster,
    daemon::{Daemon, Engine, free_port},
    engine::{self, Images},
    settings, wait,
};

use crate::MUSTER;

/// Running tasks and their nodes, by what a manager says.
fn placed(cluster: &Cluster, ask: usize) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for node in cluster.nodes().iter().map(Daemon::node_id) {
        let format = ["--filter", "desired-state=running", "--no-trunc", "--format", "{{.ID}} {{.CurrentState}}"];
        let shown = cluster[ask].ok(&[&["node", "ps"], &format[..], &[&node]].concat());
        let running = shown.lines().filter_map(|line| line.split_once(" Running"));
        found.extend(running.map(|(task, _)| (task.to_owned(), node.clone())));
    }
    found
}

fn web(cluster: &Cluster, replicas: usize) {
    cluster.wait_ready(0);
    let count = replicas.to_string();
    cluster[0].ok(&["service", "create", "--quiet", "--name", "web", "--replicas", &count, "sim:1"]);
    cluster[0].wait_running("web", replicas);
}

#[test]
fn what_a_dead_worker_ran_runs_elsewhere_and_its_surplus_stops_when_it_returns() {
    let Some(()) = engine::present("what_a_dead_worker_ran_runs_elsewhere") else { return };
    let images = Images::make(&["1.0.0"]);
    let mut cluster = Cluster::local(MUSTER, &Engine::Docker, 3, 1);
    cluster.wait_ready(0);
    cluster[0].ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "4", &images.name("1.0.0")]);
    cluster[0].wait_running("web", 4);
    let (id, dead) = (cluster[0].cluster_id(), cluster[3].node_id());
    cluster[3].kill();
    wait::until("all replicas to run elsewhere", || {
        let placed = placed(&cluster, 0);
        if placed.len() == 4 && placed.iter().all(|(_, node)| *node != dead) { Ok(()) } else { Err(placed) }
    });
    let kept = placed(&cluster, 0);
    cluster[3].restart();
    wait::until("the surplus to stop", || {
        let running = engine::containers(&id).into_iter().filter(|container| container.state == "running");
        let running: BTreeSet<String> = running.map(|container| container.task).collect();
        let wanted: BTreeSet<String> = kept.iter().map(|(task, _)| task.clone()).collect();
        if running == wanted { Ok(()) } else { Err((running, wanted)) }
    });
    assert_eq!(placed(&cluster, 0), kept);
}

#[test]
fn what_the_leaders_host_ran_runs_elsewhere() {
    let mut cluster = Cluster::of(MUSTER, 3);
    web(&cluster, 6);
    let leader = cluster.leader();
    let (other, dead) = (cluster.after(leader), cluster[leader].node_id());
    cluster[leader].kill();
    wait::until("all replicas to run elsewhere", || {
        let placed = placed(&cluster, other);
        if placed.len() == 6 && placed.iter().all(|(_, node)| *node != dead) { Ok(()) } else { Err(placed) }
    });
}

/// A global service keeps its task on a node for as long as that is away. Clients must not.
#[test]
fn clients_are_sent_to_no_node_that_is_down() {
    let cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 1);
    cluster.wait_ready(0);
    let (port, away) = (free_port().to_string(), cluster[3].node_id());
    let create = ["service", "create", "--quiet", "--name", "web", "--mode", "global", "--env"];
    cluster[0].ok(&[&create[..], &["MUSTER_SIM_ADDRESS=127.0.0.1", "-p", &format!("{port}:8000"), "sim:1"]].concat());
    cluster[0].wait_running("web", 4);
    let listed = |cluster: &Cluster, number: usize| {
        let list = std::fs::read_to_string(cluster[number].data_dir().join("agent/ingress.json")).unwrap_or_default();
        let nodes = cluster.nodes().iter().map(Daemon::node_id);
        nodes.filter(|node| list.contains(node)).collect::<BTreeSet<_>>()
    };
    let wait_listed = |cluster: &Cluster, what: &str, expected: &BTreeSet<String>| {
        for number in 0..3 {
            wait::until(what, || {
                let listed = listed(cluster, number);
                if listed == *expected { Ok(()) } else { Err((number, listed)) }
            });
        }
    };
    let all: BTreeSet<String> = cluster.nodes().iter().map(Daemon::node_id).collect();
    let others: BTreeSet<String> = all.iter().filter(|node| **node != away).cloned().collect();
    wait_listed(&cluster, "all tasks to be listed", &all);
    cluster[3].pause();
    wait_listed(&cluster, "the node that is down not to be listed", &others);
    assert_eq!(cluster[0].states("web").len(), 4, "its task is still wanted");
    cluster[3].resume();
    wait_listed(&cluster, "all tasks to be listed again", &all);
}

/// A lease that no loaded machine outlasts by accident.
fn long_lease(cluster: &Cluster) {
    settings::change(&cluster[0], |spec| spec.lease_ms = 60_000);
}

#[test]
fn daemons_that_restart_restart_no_container() {
    let Some(()) = engine::present("daemons_that_restart_restart_no_container") else { return };
    let images = Images::make(&["1.0.0"]);
    let mut cluster = Cluster::local(MUSTER, &Engine::Docker, 3, 0);
    long_lease(&cluster);
    cluster.wait_ready(0);
    cluster[0].ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "3", &images.name("1.0.0")]);
    cluster[0].wait_running("web", 3);
    let id = cluster[0].cluster_id();
    let containers = || engine::containers(&id).into_iter().map(|container| container.id).collect::<BTreeSet<_>>();
    let before = containers();
    for number in 0..3 {
        if number == 1 {
            cluster[number].stop()
        } else {
            cluster[number].kill()
        }
        cluster[number].restart();
        cluster.wait_managers(number, 3);
        cluster.wait_ready(number);
    }
    cluster[0].wait_running("web", 3);
    assert_eq!(containers(), before);
}

/// The managers run no tasks, so that their own end is not what is looked at.
#[test]
fn leaders_that_die_or_sleep_restart_no_task() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 2);
    for number in 0..3 {
        let id = cluster[number].node_id();
        cluster[0].ok(&["node", "update", "--availability", "drain", &id]);
    }
    web(&cluster, 6);
    let before = placed(&cluster, 0);
    let leader = cluster.leader();
    let other = (leader + 1) % 3;
    cluster[leader].pause();
    wait::until("another leader", || {
        let found = cluster.leader_by(other);
        if found == leader { Err(found) } else { Ok(()) }
    });
    cluster[leader].resume();
    cluster.wait_managers(other, 3);
    let leader = cluster.leader_by(other);
    cluster[leader].kill();
    cluster[leader].restart();
    cluster.wait_managers((leader + 1) % 3, 3);
    cluster.wait_ready(leader);
    assert_eq!(placed(&cluster, leader), before);
}

/// Eight tasks on two workers: managers that die here run none.
fn on_workers() -> Cluster {
    let cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 2);
    for number in 0..3 {
        let id = cluster[number].node_id();
        cluster[0].ok(&["node", "update", "--availability", "drain", &id]);
    }
    web(&cluster, 8);
    cluster
}

/// Gives the leader a command that takes a while, and kills it. Returns a manager that lives on.
fn kill_leader_after(cluster: &mut Cluster, command: &[&str]) -> usize {
    let leader = cluster.leader();
    cluster[leader].ok(command);
    cluster[leader].kill();
    (leader + 1) % 3
}

fn wait_rollout(cluster: &Cluster, ask: usize, state: &str) {
    wait::until("the rollout to end", || {
        let now = cluster[ask].run(&["service", "inspect", "--format", "{{.UpdateStatus.State}}", "web"]);
        if now.stdout.trim() == state { Ok(()) } else { Err(now) }
    });
    cluster[ask].wait_running("web", 8);
}

/// The counters of a rollout are the cluster's, not the leader's.
#[test]
fn a_leader_killed_in_the_middle_of_a_rollout_changes_nothing_about_it() {
    let mut cluster = on_workers();
    let update = ["service", "update", "--detach", "--update-monitor", "200ms", "--env-add", "A=1", "web"];
    let other = kill_leader_after(&mut cluster, &update);
    wait_rollout(&cluster, other, "completed");
}

#[test]
fn a_leader_killed_in_the_middle_of_a_rollback_changes_nothing_about_it() {
    let mut cluster = on_workers();
    cluster[0].ok(&["service", "update", "--quiet", "--update-monitor", "200ms", "--env-add", "A=1", "web"]);
    let other = kill_leader_after(&mut cluster, &["service", "rollback", "--detach", "web"]);
    wait_rollout(&cluster, other, "rollback_completed");
    let shown = cluster[other].ok(&["service", "inspect", "--format", "{{json .Spec.TaskTemplate}}", "web"]);
    assert!(!shown.contains("A=1"), "{shown}");
}

#[test]
fn a_leader_killed_in_the_middle_of_a_drain_changes_nothing_about_it() {
    let mut cluster = on_workers();
    let (from, to) = (cluster[3].node_id(), cluster[4].node_id());
    let other = kill_leader_after(&mut cluster, &["node", "update", "--availability", "drain", &from]);
    wait::until("all tasks to be on the other worker", || {
        let now = placed(&cluster, other);
        if now.len() == 8 && now.iter().all(|(_, node)| *node == to) { Ok(()) } else { Err(now) }
    });
}
