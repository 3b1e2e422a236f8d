//! What `muster node update` makes of the services, on the simulated engine.

use muster_tests::{
    daemon::{Daemon, Engine},
    wait,
};

use crate::MUSTER;

fn create(daemon: &Daemon, name: &str, flags: &[&str]) {
    let mut args = vec!["service", "create", "--detach", "--quiet", "--name", name];
    args.extend(flags);
    args.push("sim:1");
    daemon.ok(&args);
}

/// Until `service ps` says so of the service.
fn wait_said(daemon: &Daemon, service: &str, words: &str) {
    wait::until(words, || {
        let shown = daemon.ok(&["service", "ps", "--no-trunc", service]);
        if shown.contains(words) { Ok(()) } else { Err(shown) }
    });
}

fn running(daemon: &Daemon, service: &str) -> Vec<String> {
    let shown = daemon.ok(&["service", "ps", "--no-trunc", "--format", "{{.ID}} {{.CurrentState}}", service]);
    let running = shown.lines().filter(|line| line.contains("Running"));
    running.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn labels_are_what_constraints_look_at() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    let constraint = ["--constraint", "node.labels.zone==a"];
    create(&daemon, "web", &constraint);
    create(&daemon, "log", &["--mode", "global", constraint[0], constraint[1]]);
    wait_said(&daemon, "web", "1 constraint node.labels.zone==a not met");

    assert_eq!(daemon.ok(&["node", "update", "--label-add", "zone=a", "self"]), "self");
    assert_eq!(daemon.ok(&["node", "inspect", "--format", "{{json .Spec.Labels}}"]), r#"{"zone":"a"}"#);
    assert_eq!(daemon.ok(&["node", "ls", "--filter", "label=zone=a", "-q"]).len(), 25);
    daemon.wait_running("web", 1);
    daemon.wait_running("log", 1);

    let web = running(&daemon, "web");
    daemon.ok(&["node", "update", "--label-rm", "zone", "self"]);
    assert_eq!(daemon.ok(&["node", "ls", "--filter", "label=zone", "-q"]), "");
    // The global service has left by one plan; whatever it had for the other would have come with it.
    wait::until("the global service to leave", || {
        let left = running(&daemon, "log");
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    assert_eq!(running(&daemon, "web"), web, "a running replica is left where it is");
    daemon.ok(&["service", "scale", "--detach", "web=2"]);
    wait_said(&daemon, "web", "1 constraint node.labels.zone==a not met");
    assert_eq!(running(&daemon, "web"), web);
}

#[test]
fn a_paused_node_keeps_its_tasks_and_gets_no_new_ones() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    create(&daemon, "web", &[]);
    daemon.wait_running("web", 1);
    let web = running(&daemon, "web");
    daemon.ok(&["node", "update", "--availability", "pause", "self"]);
    assert_eq!(daemon.ok(&["node", "ls", "--format", "{{.Availability}}"]), "Pause");
    daemon.ok(&["service", "scale", "--detach", "web=2"]);
    wait_said(&daemon, "web", "no suitable node among 1 node: 1 paused");
    assert_eq!(running(&daemon, "web"), web);

    daemon.ok(&["node", "update", "--availability", "active", "self"]);
    daemon.wait_running("web", 2);
}

#[test]
fn draining_the_only_node_says_why_its_tasks_stay() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    create(&daemon, "web", &["--replicas", "2"]);
    create(&daemon, "edge", &["-p", "mode=host,published=9443,target=443"]);
    create(&daemon, "log", &["--mode", "global"]);
    for (service, replicas) in [("web", 2), ("edge", 1), ("log", 1)] {
        daemon.wait_running(service, replicas);
    }
    let web = running(&daemon, "web");
    let drain = ["node", "update", "--availability", "drain", "--wait", "--timeout", "60s", "self"];
    let printed = daemon.run(&drain);
    assert!(!printed.status.success() && printed.stderr.contains("3 tasks are still on it"), "{}", printed.stderr);
    let behind = "web.2: web.1 goes first: no suitable node among 1 node: 1 drained\n";
    assert!(printed.stderr.contains(behind), "{}", printed.stderr);
    for service in ["web", "edge"] {
        wait_said(&daemon, service, "no suitable node among 1 node: 1 drained");
    }
    wait::until("what can run nowhere else to stop", || {
        let left = running(&daemon, "log");
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    assert_eq!(running(&daemon, "web"), web, "nothing serves in their place yet");
    assert_eq!(running(&daemon, "edge").len(), 1, "nor in its place, though it cannot run twice");

    daemon.ok(&["node", "update", "--availability", "active", "self"]);
    for (service, replicas) in [("web", 2), ("edge", 1), ("log", 1)] {
        daemon.wait_running(service, replicas);
    }
    assert_eq!(running(&daemon, "web"), web, "what ran on is not replaced");
}

#[test]
fn wrong_input_changes_nothing() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    let usage: &[(&[&str], &str)] = &[
        (&["self"], "nothing to change is named"),
        (&["--availability", "asleep", "self"], "active, pause and drain"),
        (&["--label-add", "=a", "self"], "its name is empty"),
        (&["--label-add", "zone=a", "--label-rm", "zone", "self"], "both name zone"),
        (&["--availability", "pause"], "NODE"),
    ];
    for (flags, words) in usage {
        let args = [&["node", "update"], *flags].concat();
        let printed = daemon.run(&args);
        assert_eq!(printed.status.code(), Some(2), "muster {args:?}: {printed:#?}");
        assert!(printed.stderr.contains(words), "muster {args:?}: {}", printed.stderr);
    }
    let said = daemon.refused(&["node", "update", "--availability", "pause", "nobody"]);
    assert!(said.contains("nobody") && said.contains("muster node ls") && said.lines().count() == 1, "{said}");
    let untouched = "{{.Spec.Availability}} {{json .Spec.Labels}}";
    assert_eq!(daemon.ok(&["node", "inspect", "--format", untouched]), "active {}");
}
