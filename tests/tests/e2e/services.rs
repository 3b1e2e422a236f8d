//! A service's life through the command line, on the simulated engine: what is said, and what is so.

use muster_tests::{
    daemon::{Daemon, Engine},
    wait,
};

use crate::MUSTER;

#[test]
fn a_service_from_create_to_rm() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    let id = daemon.ok(&["service", "create", "--name", "web", "--replicas", "3", "sim:1"]);
    assert_eq!(id.len(), 25, "{id}");
    assert_eq!(daemon.states("web"), ["Running"; 3]);
    assert_eq!(
        daemon.ok(&["service", "ls", "--format", "{{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}"]),
        "web replicated 3/3 sim:1"
    );

    daemon.ok(&["service", "scale", "web=5"]);
    assert_eq!(daemon.states("web").len(), 5);
    daemon.ok(&["service", "scale", "web=1"]);
    daemon.wait_running("web", 1);

    daemon.ok(&["service", "update", "--env-add", "COLOUR=blue", "--update-monitor", "50ms", "web"]);
    assert_eq!(daemon.ok(&["service", "inspect", "--format", "{{.UpdateStatus.State}}", "web"]), "completed");
    let env = daemon.ok(&["service", "inspect", "--format", "{{json .Spec.TaskTemplate.ContainerSpec.Env}}", "web"]);
    assert_eq!(env, r#"["COLOUR=blue"]"#);

    daemon.ok(&["service", "rollback", "web"]);
    let env = daemon.ok(&["service", "inspect", "--format", "{{json .Spec.TaskTemplate.ContainerSpec.Env}}", "web"]);
    assert!(!env.contains("COLOUR"), "{env}");

    assert_eq!(daemon.ok(&["service", "rm", "web"]), "web");
    assert_eq!(daemon.ok(&["service", "ls", "-q"]), "");
}

#[test]
fn a_global_service_runs_once_on_the_node() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    daemon.ok(&["service", "create", "--mode", "global", "--name", "watch", "sim:1"]);
    assert_eq!(daemon.states("watch"), ["Running"]);
    assert_eq!(daemon.ok(&["service", "ls", "--format", "{{.Mode}} {{.Replicas}}"]), "global 1/1");
}

#[test]
fn a_crash_loop_backs_off_and_stays_manageable() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    daemon.ok(&["service", "create", "--detach", "--name", "crash", "--env", "MUSTER_SIM_EXIT=3@10", "sim:1"]);
    wait::until("three failed attempts", || {
        let shown = daemon.ok(&["service", "ps", "crash"]);
        if shown.matches("Failed").count() >= 3 { Ok(()) } else { Err(shown) }
    });
    let shown = daemon.ok(&["service", "ps", "--no-trunc", "crash"]);
    assert!(shown.contains("exit code 3"), "{shown}");
    daemon.ok(&["service", "update", "--env-rm", "MUSTER_SIM_EXIT", "--update-monitor", "50ms", "crash"]);
    assert_eq!(daemon.states("crash"), ["Running"]);
}

#[test]
fn a_task_that_cannot_be_placed_says_why() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    daemon.ok(&["service", "create", "--detach", "--name", "far", "--constraint", "node.labels.zone==moon", "sim:1"]);
    wait::until("the reason", || {
        let shown = daemon.ok(&["service", "ps", "--no-trunc", "far"]);
        if shown.contains("constraint node.labels.zone==moon not met") { Ok(()) } else { Err(shown) }
    });
    daemon.ok(&["service", "update", "--constraint-rm", "node.labels.zone==moon", "--update-monitor", "50ms", "far"]);
    assert_eq!(daemon.states("far"), ["Running"]);
}

#[test]
fn leaving_ends_the_cluster_and_init_begins_another() {
    let mut daemon = Daemon::cluster(MUSTER, Engine::Sim);
    daemon.ok(&["service", "create", "--quiet", "--name", "web", "sim:1"]);
    let said = daemon.refused(&["leave"]);
    assert!(said.contains("only manager") && said.contains("--force"), "{said}");
    assert_eq!(daemon.states("web"), ["Running"]);

    let first = daemon.cluster_id();
    daemon.ok(&["leave", "--force"]);
    let said = daemon.refused(&["service", "ls"]);
    assert!(said.contains("muster init"), "{said}");
    daemon.init();
    assert_ne!(daemon.cluster_id(), first);
    assert_eq!(daemon.ok(&["service", "ls", "-q"]), "");
}

#[test]
fn a_scale_is_done_while_an_update_is_held() {
    let daemon = Daemon::cluster(MUSTER, Engine::Sim);
    let create = ["service", "create", "--quiet", "--name", "web", "--replicas", "2", "--canary", "1"];
    daemon.ok(&[&create[..], &["--update-monitor", "100ms", "sim:1"]].concat());
    daemon.ok(&["service", "update", "--quiet", "--image", "sim:2", "web"]);
    let scaled = |replicas: &str, running: &str, goes_on: &str| {
        let printed = daemon.run(&["service", "scale", &format!("web={replicas}")]);
        assert_eq!(printed.status.code(), Some(0), "{printed:#?}");
        assert!(printed.stderr.contains(running), "{printed:#?}");
        assert!(printed.stderr.contains("is still held") && printed.stderr.contains(goes_on), "{printed:#?}");
        daemon.wait_running("web", replicas.parse().unwrap());
    };
    scaled("4", "4 tasks running", "muster service promote web");
    let refused = daemon.refused(&["service", "pause", "web"]);
    assert!(refused.contains("muster service promote web"), "{refused}");
    daemon.ok(&["service", "promote", "--quiet", "web"]);

    let begin = ["service", "update", "--detach", "--canary", "2", "--update-delay", "1h", "--image", "sim:3", "web"];
    daemon.ok(&begin);
    daemon.ok(&["service", "pause", "web"]);
    scaled("5", "5 tasks running", "muster service resume web");
    let refused = daemon.refused(&["service", "promote", "web"]);
    assert!(refused.contains("muster service resume web"), "{refused}");
}
