//! Updates of real containers: no request dropped, and a bad one ends as asked, with its evidence.

use std::net::{Ipv4Addr, SocketAddr};

use muster_cli::demo::load::Load;
use muster_tests::{
    daemon::{Daemon, Engine, free_port},
    engine::{self, Images},
    wait,
};

use crate::MUSTER;

const REQUESTS_MIN: u64 = 10_000;

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Runs `work` under load and returns once enough requests were sent for the count to mean something.
fn under_load(port: u16, work: impl FnOnce()) -> muster_cli::demo::load::Tally {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let load = runtime.block_on(async { Load::start(at(port), 8) });
    work();
    wait::until("enough requests", || {
        let tally = load.tally();
        if tally.requests >= REQUESTS_MIN || tally.failed > 0 { Ok(()) } else { Err(tally.requests) }
    });
    runtime.block_on(load.finish())
}

#[test]
fn ten_thousand_requests_none_failed_in_update_scale_and_rollback() {
    let Some(()) = engine::present("ten_thousand_requests_none_failed") else { return };
    let images = Images::make(&["1.0.0", "2.0.0"]);
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    let port = free_port();
    let publish = format!("{port}:8000");
    let mut create = vec!["service", "create", "--quiet", "--name", "web", "--replicas", "3", "-p", &publish];
    create.extend(["--health-http", "8000/healthz", "--update-monitor", "100ms", "--rollback-monitor", "100ms"]);
    let first = images.name("1.0.0");
    create.push(&first);
    daemon.ok(&create);
    wait::until("the published port to answer", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(muster_cli::demo::load::get(at(port)))
    });

    let tally = under_load(port, || {
        daemon.ok(&["service", "update", "--quiet", "--image", &images.name("2.0.0"), "web"]);
        daemon.ok(&["service", "scale", "web=5"]);
        daemon.ok(&["service", "scale", "web=2"]);
        daemon.ok(&["service", "rollback", "--quiet", "web"]);
    });
    assert_eq!(tally.failed, 0, "{tally:#?}");
    let versions = |version: &str| tally.answers.keys().filter(|body| body.starts_with(version)).count();
    assert!(versions("version 1.0.0") >= 3 && versions("version 2.0.0") >= 3, "all replicas answer: {tally:#?}");
}

#[test]
fn an_update_to_an_image_that_does_not_exist_rolls_back() {
    let Some(()) = engine::present("an_update_to_an_image_that_does_not_exist") else { return };
    let images = Images::make(&["1.0.0"]);
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    daemon.ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "2", &images.name("1.0.0")]);
    let missing = format!("127.0.0.1:9/{}", images.name("9.9.9"));
    let said = daemon.refused(&["service", "update", "--image", &missing, "web"]);
    assert!(said.contains("rolled back"), "{said}");
    daemon.wait_running("web", 2);
    let image = daemon.ok(&["service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", "web"]);
    assert!(image.starts_with(&images.name("1.0.0")), "{image}");
}

/// A service that is to run for ever: an end without an error is as bad as any, and as hard to explain without a trace.
#[test]
fn an_update_whose_tasks_exit_with_zero_rolls_back_and_shows_what_they_said_last() {
    let Some(()) = engine::present("an_update_whose_tasks_exit_with_zero") else { return };
    let images = Images::make(&["1.0.0"]);
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    daemon.ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "2", &images.name("1.0.0")]);
    let said = daemon.refused(&["service", "update", "--args", "exit 0", "web"]);
    for words in ["rolled back", "ended with exit code 0", "last output:", "| exiting with code 0"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let shown = daemon.ok(&["service", "inspect", "web"]);
    assert!(shown.contains("exiting with code 0"), "{shown}");
    daemon.wait_running("web", 2);
}

#[test]
fn an_update_that_never_becomes_healthy_pauses_as_asked_and_keeps_the_evidence() {
    let Some(()) = engine::present("an_update_that_never_becomes_healthy") else { return };
    let images = Images::make(&["1.0.0"]);
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    let image = images.name("1.0.0");
    daemon.ok(&[
        "service",
        "create",
        "--quiet",
        "--name",
        "web",
        "--replicas",
        "2",
        "--update-failure-action",
        "pause",
        &image,
    ]);
    let mut update = vec!["service", "update", "--env-add", "UNHEALTHY=1", "--health-cmd", r#"["/demo-app", "check"]"#];
    update.extend(["--health-interval", "100ms", "--health-retries", "2", "web"]);
    let said = daemon.refused(&update);
    assert!(said.contains("paused"), "{said}");
    assert!(said.contains("told to be unhealthy"), "the health check's output is shown: {said}");
    assert_eq!(daemon.ok(&["service", "inspect", "--format", "{{.UpdateStatus.State}}", "web"]), "paused");
    let listed = daemon.ok(&["service", "ps", "web"]);
    assert!(listed.contains("unhealthy: ") && listed.contains("told to be unhealthy"), "{listed}");
    assert!(listed.contains("last output:\n    | "), "what the task wrote is shown: {listed}");
    let inspected = daemon.ok(&["service", "inspect", "--pretty", "web"]);
    assert!(inspected.contains("unhealthy: ") && inspected.contains("told to be unhealthy"), "{inspected}");
    assert!(inspected.contains("last output:") && inspected.contains(" | "), "{inspected}");
    // One slot was tried; start-first left both old tasks in service.
    wait::until("both old tasks to serve", || {
        let states = daemon.states("web");
        if states.iter().filter(|state| *state == "Running").count() == 2 { Ok(()) } else { Err(states) }
    });
    daemon.ok(&["service", "rollback", "--quiet", "web"]);
    daemon.wait_running("web", 2);
}
