//! A tag is resolved once, against a real registry: what runs afterwards is that digest, wherever the tag moves.

use std::{collections::BTreeMap, time::Duration};

use muster_cli::{connect, object};
use muster_proto::{restart::RestartPolicy, time::Timestamp, v1};
use muster_tests::{
    daemon::{Daemon, Engine},
    engine::{self, Images},
    registry::{self, Pushed, Registry},
    wait,
};

use crate::MUSTER;

const DIGEST: &str = "{{.Spec.TaskTemplate.ContainerSpec.ImageDigest}}";
/// Pauses that are compared; more take their time.
const PAUSES: usize = 3;

fn present(test: &str) -> Option<()> {
    engine::present(test)?;
    registry::present(test)
}

fn digest(daemon: &Daemon) -> String {
    daemon.ok(&["service", "inspect", "--format", DIGEST, "web"])
}

/// Waits until all containers that run are `count` of this image.
fn runs_only(daemon: &Daemon, image: &Pushed, count: usize) {
    daemon.wait_running("web", count);
    wait::until("only containers of that image", || {
        let running = engine::containers(&daemon.cluster_id()).into_iter().filter(|found| found.state == "running");
        let ids: Vec<String> = running.map(|found| found.image_id).collect();
        if ids.len() == count && ids.iter().all(|id| *id == image.id) { Ok(()) } else { Err(ids) }
    });
}

#[test]
fn every_replica_runs_the_digest_that_the_tag_meant_when_it_was_asked_for() {
    let Some(()) = present("every_replica_runs_the_digest") else { return };
    let images = Images::make(&["1.0.0", "2.0.0"]);
    let mut registry = Registry::start();
    let stable = registry.name("app:stable");
    let first = registry.push(&images, "1.0.0", "app", "stable");
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    images.remove("1.0.0");
    assert_eq!(engine::image_id(&first.id), None, "the agent has to pull");

    daemon.ok(&["service", "create", "--quiet", "--name", "web", "--update-monitor", "100ms", &stable]);
    assert_eq!(digest(&daemon), first.digest);
    runs_only(&daemon, &first, 1);

    let second = registry.push(&images, "2.0.0", "app", "stable");
    assert_ne!(first, second);
    images.remove("2.0.0");
    daemon.ok(&["service", "scale", "web=3"]);
    runs_only(&daemon, &first, 3);
    daemon.ok(&["service", "update", "--quiet", "--env-add", "A=1", "web"]);
    assert_eq!(digest(&daemon), first.digest, "an update of something else keeps the pin");
    runs_only(&daemon, &first, 3);

    daemon.ok(&["service", "update", "--quiet", "--image", &stable, "web"]);
    assert_eq!(digest(&daemon), second.digest, "asked for again, the tag is resolved anew");
    runs_only(&daemon, &second, 3);
    daemon.ok(&["service", "rollback", "--quiet", "web"]);
    assert_eq!(digest(&daemon), first.digest, "the way back is to what ran, not to what the tag means");
    runs_only(&daemon, &first, 3);
}

#[test]
fn a_registry_out_of_reach_stops_nothing_that_is_pinned() {
    let Some(()) = present("a_registry_out_of_reach") else { return };
    let images = Images::make(&["1.0.0"]);
    let mut registry = Registry::start();
    let stable = registry.name("app:stable");
    let pushed = registry.push(&images, "1.0.0", "app", "stable");
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    images.remove("1.0.0");
    daemon.ok(&["service", "create", "--quiet", "--name", "web", &stable]);

    registry.stop();
    daemon.ok(&["service", "scale", "web=2"]);
    let printed = daemon.run(&["service", "update", "--quiet", "--image", &stable, "web"]);
    assert!(printed.status.success() && printed.stderr.contains("stays pinned to"), "{printed:#?}");
    assert_eq!(digest(&daemon), pushed.digest);
    runs_only(&daemon, &pushed, 2);
}

#[test]
fn an_update_to_an_image_that_its_registry_does_not_have_says_so_and_rolls_back() {
    let Some(()) = present("an_update_to_an_image_that_its_registry_does_not_have") else { return };
    let images = Images::make(&["1.0.0"]);
    let mut registry = Registry::start();
    let stable = registry.name("app:stable");
    let pushed = registry.push(&images, "1.0.0", "app", "stable");
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    daemon.ok(&["service", "create", "--quiet", "--name", "web", &stable]);

    let missing = registry.name("app:9.9.9");
    let said = daemon.refused(&["service", "update", "--image", &missing, "web"]);
    let warning = format!("warning: image {missing} is not on this host, and its registry does not have it");
    let cause = format!("image {missing} cannot be pulled: ");
    for words in [warning.as_str(), "check the name, push the image", "rolled back: ", &cause, "check its name"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    runs_only(&daemon, &pushed, 1);
}

#[test]
fn an_image_of_a_registry_that_is_away_is_tried_with_growing_pauses_until_it_is_back() {
    let Some(()) = present("an_image_of_a_registry_that_is_away") else { return };
    let images = Images::make(&["1.0.0"]);
    let mut registry = Registry::start();
    let pushed = registry.push(&images, "1.0.0", "app", "stable");
    let stable = registry.name("app:stable");
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    images.remove("1.0.0");
    registry.stop();

    let printed = daemon.run(&["service", "create", "--detach", "--name", "web", &stable]);
    assert!(printed.status.success(), "{printed:#?}");
    for words in ["warning:", &stable, "its registry cannot be reached", "connection refused"] {
        assert!(printed.stderr.contains(words), "{words}: {printed:#?}");
    }
    let service = printed.stdout.trim();
    let mut attempts = BTreeMap::new();
    wait::until("several attempts", || {
        attempts.extend(ended_attempts(&daemon, service));
        if attempts.len() > PAUSES { Ok(()) } else { Err(daemon.ok(&["service", "ps", "--no-trunc", "web"])) }
    });
    let begun = attempts.keys().skip(1);
    let pauses: Vec<Duration> = begun.zip(attempts.values()).map(|(next, ended)| next.since(*ended)).collect();
    assert!(pauses.is_sorted(), "{pauses:?}");
    for (failures, pause) in (1..).zip(&pauses) {
        assert!(*pause >= RestartPolicy::backoff(failures), "after failure {failures}: {pauses:?}");
    }
    let shown = daemon.ok(&["service", "ps", "--no-trunc", "web"]);
    assert!(shown.contains(&stable) && shown.contains("could not be pulled"), "{shown}");
    assert!(shown.contains("connection refused"), "the engine's own words: {shown}");

    registry.restart();
    runs_only(&daemon, &pushed, 1);
}

/// When the attempts that the service's history still holds began, and when they ended.
fn ended_attempts(daemon: &Daemon, service: &str) -> BTreeMap<Timestamp, Timestamp> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let request = v1::ListTasksRequest { service_id: service.to_owned(), node_id: String::new() };
    let tasks = runtime.block_on(async {
        let host = format!("unix://{}", daemon.socket().display()).parse().expect("the daemon's address");
        let connection = connect::Daemon::connect(&host).await.expect("the daemon answers");
        connection.control().list_tasks(request).await.expect("tasks are listed").into_inner().tasks
    });
    let tasks = object::task::all(tasks).expect("tasks that can be read");
    let ended = tasks.iter().filter(|task| task.status.state.is_final());
    ended.map(|task| (task.created_at, task.status.at)).collect()
}

#[test]
fn an_image_that_cannot_be_had_is_given_up_after_its_attempts_and_not_during_a_pause() {
    let Some(()) = engine::present("an_image_that_cannot_be_had_is_given_up") else { return };
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    let mut create = vec!["service", "create", "--name", "web", "--restart-max-attempts", "1", "--restart-delay", "5s"];
    create.push("127.0.0.1:9/muster-test/nowhere:1");
    let said = daemon.refused(&create);
    assert!(said.contains("allows no further attempt"), "{said}");
    let states = daemon.ok(&["service", "ps", "--format", "{{.CurrentState}}", "web"]);
    assert_eq!(states.matches("Rejected").count(), 2, "{said}\n{states}");
}
