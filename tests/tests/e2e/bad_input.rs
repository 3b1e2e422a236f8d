//! Wrong input gets one sentence and the next step, exit code 1 (2 for usage), and changes nothing.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::Command,
};

use muster_tests::daemon::{Daemon, Engine, free_port};

use crate::MUSTER;

/// One line or few, no panic, no debug output.
fn is_a_sentence(said: &str) {
    assert!(said.lines().count() <= 3, "{said}");
    for sign in ["panicked", "RUST_BACKTRACE", "Error {", "Status {", "Some(", "Err("] {
        assert!(!said.contains(sign), "{said}");
    }
}

fn usage(daemon: &Daemon, args: &[&str], words: &str) {
    let printed = daemon.run(args);
    assert_eq!(printed.status.code(), Some(2), "muster {args:?}: {printed:#?}");
    assert!(printed.stderr.contains(words), "muster {args:?}: {}", printed.stderr);
}

fn refused(daemon: &Daemon, args: &[&str], words: &[&str]) {
    let said = daemon.refused(args);
    is_a_sentence(&said);
    for word in words {
        assert!(said.contains(word), "muster {args:?} does not say {word:?}: {said}");
    }
}

#[test]
fn without_a_daemon() {
    let output =
        Command::new(MUSTER).args(["--host", "unix:///nowhere/muster.sock", "service", "ls"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    is_a_sentence(&said);
    assert!(said.contains("muster daemon") && said.contains("/nowhere/muster.sock"), "{said}");
}

#[test]
fn without_a_cluster_and_with_one_already() {
    let mut daemon = Daemon::start(MUSTER, Engine::Sim);
    refused(&daemon, &["service", "ls"], &["in no cluster", "muster init"]);
    refused(&daemon, &["node", "ls"], &["in no cluster", "muster init"]);
    refused(&daemon, &["leave"], &["in no cluster"]);
    daemon.init();
    refused(&daemon, &["init"], &["already", "muster leave"]);
}

#[test]
fn names() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    daemon.ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "0", "sim:1"]);
    refused(&daemon, &["service", "create", "--name", "web", "sim:1"], &["web", "exists already"]);
    for command in ["ps", "inspect", "rm", "logs", "rollback", "update"] {
        refused(&daemon, &["service", command, "wbe"], &["wbe", "muster service ls"]);
    }
    refused(&daemon, &["service", "scale", "wbe=2"], &["wbe"]);
    refused(&daemon, &["service", "rollback", "web"], &["no previous spec"]);
    usage(&daemon, &["service", "create", "--name", "no spaces", "sim:1"], "no spaces");
}

#[test]
fn an_ambiguous_prefix() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    // Of 37 ids two begin alike.
    let ids: Vec<String> = (0..37)
        .map(|n| {
            daemon.ok(&[
                "service",
                "create",
                "--detach",
                "--quiet",
                "--name",
                &format!("s{n}"),
                "--replicas",
                "0",
                "sim:1",
            ])
        })
        .collect();
    let first = |id: &String| id.chars().next().unwrap();
    let shared = ids.iter().map(first).find(|c| ids.iter().filter(|id| first(id) == *c).count() > 1).unwrap();
    refused(&daemon, &["service", "inspect", &shared.to_string()], &["can mean", "write more of the id"]);
}

#[test]
fn ports() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    let port = free_port();
    let publish = format!("{port}:80");
    daemon.ok(&["service", "create", "--quiet", "--name", "web", "-p", &publish, "sim:1"]);
    refused(&daemon, &["service", "create", "--name", "other", "-p", &publish, "sim:1"], &[&port.to_string(), "web"]);
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = held.local_addr().unwrap().port();
    refused(
        &daemon,
        &["service", "create", "--name", "other", "-p", &format!("{taken}:80"), "sim:1"],
        &[&taken.to_string(), "in use"],
    );
    assert_eq!(daemon.ok(&["service", "ls", "--format", "{{.Name}}"]), "web", "a half-made service is left");
}

#[test]
fn flags() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    let bad: &[(&[&str], &str)] = &[
        (&["--replicas", "-1"], "-1"),
        (&["--replicas", "many"], "many"),
        (&["--replicas", "1000000000"], "1000000000"),
        (&["--limit-memory", "1k"], "memory"),
        (&["--limit-memory", "lots"], "lots"),
        (&["--limit-cpu", "x"], "x"),
        (&["--stop-grace-period", "10"], "10"),
        (&["-p", "80:notaport"], "notaport"),
        (&["-p", "53:53/udp"], "udp"),
        (&["--mount", "type=magic,target=/x"], "magic"),
        (&["--constraint", "zone=a"], "zone=a"),
        (&["--update-order", "sideways"], "sideways"),
        (&["--update-max-failure-ratio", "2"], "2"),
        (&["--mode", "some"], "some"),
        (&["--no-such-flag"], "no-such-flag"),
    ];
    for (flags, words) in bad {
        let mut args = vec!["service", "create", "--name", "bad"];
        args.extend(*flags);
        args.push("sim:1");
        usage(&daemon, &args, words);
    }
    usage(&daemon, &["service", "create", "--name", "bad"], "IMAGE");
    usage(&daemon, &["service", "update", "web", "--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck");
    assert_eq!(daemon.ok(&["service", "ls", "-q"]), "");
}
