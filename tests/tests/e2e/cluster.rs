//! Three managers as one: formed as the README says, asked through any of them, written to while one of them dies.

use muster_chaos::hosts::{self, Hosts};
use muster_tests::{
    cluster::Cluster,
    daemon::{Daemon, Engine, Place},
    wait,
};

use crate::MUSTER;

const NAMES: [&str; 4] = ["service", "ls", "--format", "{{.Name}}"];

fn create(daemon: &Daemon, name: &str) {
    daemon.ok(&["service", "create", "--detach", "--quiet", "--name", name, "--replicas", "0", "sim:1"]);
}

fn names(daemon: &Daemon) -> Vec<String> {
    let mut names: Vec<String> = daemon.ok(&NAMES).lines().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn three_hosts_formed_by_hand() {
    let Some(()) = hosts::present("three_hosts_formed_by_hand") else { return };
    let hosts = Hosts::make(3);
    let mut nodes: Vec<Daemon> =
        (0..3).map(|host| Daemon::start_at(MUSTER, Engine::Sim, Place::host(&hosts, host))).collect();
    nodes[0].init();
    // As it is printed there, to be typed on the other two.
    let shown = nodes[0].ok(&["join-token", "manager"]);
    let line = shown.lines().find(|line| line.trim().starts_with("muster join ")).expect("the command to type");
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    assert_eq!(words.last().copied(), Some(nodes[0].address().to_string().as_str()), "{shown}");
    for node in &mut nodes[1..] {
        let said = node.ok(&words);
        assert!(said.contains("manager"), "{said}");
        node.note_cluster();
    }
    let cluster = Cluster::formed(nodes, 3);
    cluster.wait_ready(2);
    for node in cluster.nodes() {
        let addresses = node.ok(&["node", "ls", "--format", "{{.Address}}"]);
        for other in cluster.nodes() {
            assert!(addresses.contains(&other.address().to_string()), "{addresses}");
        }
    }
    create(&cluster[2], "web");
    assert_eq!(names(&cluster[1]), ["web"]);
}

#[test]
fn any_manager_serves_any_command_and_sees_what_was_written_before() {
    let cluster = Cluster::of(MUSTER, 3);
    for round in 0..9 {
        create(&cluster[round % 3], &format!("s{round}"));
        for reader in 0..3 {
            let seen = names(&cluster[reader]);
            assert!(seen.contains(&format!("s{round}")), "manager {reader} shows {seen:?} after round {round}");
        }
    }
    cluster[1].ok(&["service", "rm", "s0"]);
    assert!(!names(&cluster[2]).contains(&"s0".to_owned()));
}

#[test]
fn tasks_are_spread_over_the_nodes_and_run_on() {
    let cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 1);
    cluster.wait_ready(0);
    cluster[0].ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "4", "sim:1"]);
    cluster[1].wait_running("web", 4);
    for node in cluster.nodes() {
        let id = node.node_id();
        let on = cluster[2].ok(&["node", "ps", "--format", "{{.ID}}", &id]);
        assert_eq!(on.lines().count(), 1, "tasks on node {id}: {on}");
    }
}

#[test]
fn a_worker_serves_commands_or_says_where_to_go() {
    let cluster = Cluster::local(MUSTER, &Engine::Sim, 1, 1);
    let printed = cluster[1].run(&NAMES);
    let leads = printed.stderr.contains(&cluster[0].address().to_string());
    assert!(printed.status.success() || leads, "{printed:#?}");
}

#[test]
fn a_command_waits_for_the_next_leader() {
    let mut cluster = Cluster::of(MUSTER, 3);
    let leader = cluster.leader();
    let other = cluster.after(leader);
    create(&cluster[other], "before");
    cluster[leader].kill();
    create(&cluster[other], "during");
    assert_eq!(names(&cluster[other]), ["before", "during"]);
    cluster[leader].restart();
    cluster.wait_managers(other, 3);
    assert_eq!(names(&cluster[leader]), ["before", "during"]);
}

#[test]
fn a_manager_after_the_other_is_restarted_and_nothing_restarts() {
    let mut cluster = Cluster::of(MUSTER, 3);
    cluster.wait_ready(0);
    cluster[0].ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "3", "sim:1"]);
    cluster[0].wait_running("web", 3);
    for number in 0..3 {
        cluster[number].stop();
        let other = cluster.after(number);
        create(&cluster[other], &format!("without-{number}"));
        cluster[number].restart();
        cluster.wait_managers(number, 3);
        cluster.wait_ready(number);
    }
    cluster[0].wait_running("web", 3);
    assert_eq!(names(&cluster[0]), ["web", "without-0", "without-1", "without-2"]);
}

#[test]
fn all_managers_killed_at_once_come_back_with_everything() {
    let mut cluster = Cluster::of(MUSTER, 3);
    create(&cluster[1], "kept");
    for number in 0..3 {
        cluster[number].kill();
    }
    for number in 0..3 {
        cluster[number].restart();
    }
    cluster.wait_managers(2, 3);
    assert_eq!(names(&cluster[2]), ["kept"]);
}

/// The leader is cut off: its side refuses writes, the other takes them; healed, all know the same.
#[test]
fn a_leader_that_is_cut_off_takes_no_writes_and_catches_up() {
    let Some(()) = hosts::present("a_leader_that_is_cut_off") else { return };
    let hosts = Hosts::make(3);
    let cluster = Cluster::on(MUSTER, &hosts, &Engine::Sim, 3);
    create(&cluster[0], "before");
    let leader = cluster.leader();
    let other = cluster.after(leader);
    hosts.cut(leader);
    let said = cluster[leader].refused(&["service", "create", "--detach", "--name", "lost", "sim:1"]);
    assert!(said.contains("leader") || said.contains("majority"), "{said}");
    create(&cluster[other], "during");
    assert_ne!(cluster.leader_by(other), leader);
    hosts.heal(leader);
    cluster.wait_managers(other, 3);
    for node in cluster.nodes() {
        let seen = names(node);
        assert!(seen.contains(&"before".to_owned()) && seen.contains(&"during".to_owned()), "{seen:?}");
    }
    let [a, b, c] = [0, 1, 2].map(|number| names(&cluster[number]));
    assert!(a == b && b == c, "{a:?} {b:?} {c:?}");
    // What the cut-off leader could not promise did not happen behind the back of who asked.
    assert!(!a.contains(&"lost".to_owned()), "{a:?}");
}

#[test]
fn managers_have_the_same_state() {
    let cluster = Cluster::of(MUSTER, 3);
    cluster.wait_ready(0);
    cluster[0].ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "3", "sim:1"]);
    cluster[1].ok(&["service", "update", "--quiet", "--env-add", "A=1", "web"]);
    let format = ["info", "--state-digest", "--format", "{{.State.AppliedIndex}} {{.State.Digest}}"];
    wait::until("all managers to have applied as much", || {
        let shown = [0, 1, 2].map(|number| cluster[number].ok(&format));
        let index = |text: &str| text.split(' ').next().map(str::to_owned);
        if shown.iter().all(|text| index(text) == index(&shown[0])) {
            assert!(shown.iter().all(|text| *text == shown[0]), "same index, other state: {shown:#?}");
            return Ok(());
        }
        Err(shown)
    });
}
