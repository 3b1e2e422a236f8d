//! SIGKILL of the daemon in the middle of its work: afterwards everything is as asked, and no container is left over
//! or made twice.

use std::collections::BTreeSet;

use muster_tests::{
    daemon::{Daemon, Engine},
    engine::{self, Images},
    wait,
};

use crate::MUSTER;

/// Waits until the engine holds `count` running containers of this cluster, one for each task that is wanted, and no
/// container of any other task runs.
fn no_orphan_and_no_double(daemon: &Daemon, service: &str, count: usize) {
    wait::until("one container for each task", || {
        let wanted = daemon.ok(&["service", "ps", "-q", "--no-trunc", "--filter", "desired-state=running", service]);
        let wanted: BTreeSet<String> = wanted.lines().map(str::to_owned).collect();
        let running: Vec<_> = engine::containers(&daemon.cluster_id())
            .into_iter()
            .filter(|container| container.state == "running")
            .collect();
        let tasks: BTreeSet<String> = running.iter().map(|container| container.task.clone()).collect();
        let as_asked = wanted.len() == count && running.len() == count && tasks == wanted;
        if as_asked { Ok(()) } else { Err((wanted, running)) }
    });
}

#[test]
fn killed_in_the_middle_of_create() {
    let Some(()) = engine::present("killed_in_the_middle_of_create") else { return };
    let images = Images::make(&["1.0.0"]);
    let mut daemon = Daemon::cluster(MUSTER, Engine::Docker);
    daemon.ok(&["service", "create", "--detach", "--name", "web", "--replicas", "20", &images.name("1.0.0")]);
    wait::until("some containers", || {
        let made = engine::containers(&daemon.cluster_id()).len();
        if (4..20).contains(&made) { Ok(()) } else { Err(made) }
    });
    daemon.kill();
    daemon.restart();
    daemon.wait_running("web", 20);
    no_orphan_and_no_double(&daemon, "web", 20);
}

#[test]
fn killed_in_the_middle_of_an_update() {
    let Some(()) = engine::present("killed_in_the_middle_of_an_update") else { return };
    let images = Images::make(&["1.0.0", "2.0.0"]);
    let mut daemon = Daemon::cluster(MUSTER, Engine::Docker);
    let (first, second) = (images.name("1.0.0"), images.name("2.0.0"));
    let new_id = engine::image_id(&second).unwrap();
    daemon.ok(&[
        "service",
        "create",
        "--quiet",
        "--name",
        "web",
        "--replicas",
        "6",
        "--update-monitor",
        "100ms",
        &first,
    ]);
    daemon.ok(&["service", "update", "--detach", "--update-parallelism", "2", "--image", &second, "web"]);
    wait::until("the update to be half way", || {
        let new =
            engine::containers(&daemon.cluster_id()).iter().filter(|container| container.image_id == new_id).count();
        if (2..6).contains(&new) { Ok(()) } else { Err(new) }
    });
    daemon.kill();
    daemon.restart();
    wait::until("the update to complete", || {
        let state = daemon.ok(&["service", "inspect", "--format", "{{.UpdateStatus.State}}", "web"]);
        if state == "completed" { Ok(()) } else { Err(state) }
    });
    no_orphan_and_no_double(&daemon, "web", 6);
    let running = engine::containers(&daemon.cluster_id()).into_iter().filter(|container| container.state == "running");
    assert!(running.into_iter().all(|container| container.image_id == new_id));
}

#[test]
fn containers_outlive_the_daemon() {
    let Some(()) = engine::present("containers_outlive_the_daemon") else { return };
    let images = Images::make(&["1.0.0"]);
    let mut daemon = Daemon::cluster(MUSTER, Engine::Docker);
    daemon.ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "2", &images.name("1.0.0")]);
    let ids = |daemon: &Daemon| -> BTreeSet<String> {
        engine::containers(&daemon.cluster_id()).into_iter().map(|container| container.id).collect()
    };
    let before = ids(&daemon);
    assert_eq!(before.len(), 2);
    daemon.stop();
    assert!(engine::containers(&daemon.cluster_id()).iter().all(|container| container.state == "running"));
    daemon.restart();
    daemon.wait_running("web", 2);
    daemon.kill();
    daemon.restart();
    daemon.wait_running("web", 2);
    assert_eq!(ids(&daemon), before, "a restart of the daemon restarted a container");
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut daemon = Daemon::cluster(MUSTER, Engine::Sim);
    for round in 0..5 {
        daemon.ok(&["service", "create", "--detach", "--name", &format!("s{round}"), "--replicas", "0", "sim:1"]);
        daemon.kill();
        daemon.restart();
    }
    let mut names: Vec<String> =
        daemon.ok(&["service", "ls", "--format", "{{.Name}}"]).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["s0", "s1", "s2", "s3", "s4"]);
}
