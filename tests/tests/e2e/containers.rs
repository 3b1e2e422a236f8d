//! What becomes of real containers: limits, health, ends of every kind.

use std::collections::BTreeSet;

use muster_tests::{
    daemon::{Daemon, Engine, free_port},
    engine::{self, Images},
    wait,
};

use crate::MUSTER;

/// Waits until `service ps` shows all of `words`.
fn wait_shown(daemon: &Daemon, service: &str, words: &[&str]) {
    wait::until("service ps to show it", || {
        let shown = daemon.ok(&["service", "ps", "--no-trunc", service]);
        if words.iter().all(|word| shown.contains(word)) { Ok(()) } else { Err(shown) }
    });
}

#[test]
fn a_published_service_answers_from_every_replica() {
    let Some(()) = engine::present("a_published_service_answers_from_every_replica") else { return };
    let images = Images::make(&["1.0.0"]);
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    let port = free_port();
    daemon.ok(&[
        "service",
        "create",
        "--quiet",
        "--name",
        "web",
        "--replicas",
        "3",
        "-p",
        &format!("{port}:8000"),
        &images.name("1.0.0"),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seen = BTreeSet::new();
    wait::until("answers from three replicas", || {
        let answer = runtime.block_on(muster_cli::demo::load::get((std::net::Ipv4Addr::LOCALHOST, port).into()));
        seen.extend(answer);
        if seen.len() == 3 { Ok(()) } else { Err(seen.clone()) }
    });
    assert!(daemon.ok(&["service", "logs", "web"]).contains("listening on port 8000"));
}

#[test]
fn limits_and_settings_reach_the_engine() {
    let Some(()) = engine::present("limits_and_settings_reach_the_engine") else { return };
    let images = Images::make(&["1.0.0"]);
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    let image = images.name("1.0.0");
    let mut create = vec!["service", "create", "--quiet", "--name", "web"];
    create.extend([
        "--limit-memory",
        "64m",
        "--limit-cpu",
        "0.5",
        "--limit-pids",
        "50",
        "--env",
        "A=b",
        "--user",
        "1000",
    ]);
    create.extend([
        "--hostname",
        "box",
        "--workdir",
        "/",
        "--read-only",
        "--cap-add",
        "NET_ADMIN",
        "--cap-drop",
        "CHOWN",
    ]);
    create.extend([
        "--ulimit",
        "nofile=100:200",
        "--mount",
        "type=tmpfs,target=/t",
        "--container-label",
        "x=y",
        &image,
    ]);
    daemon.ok(&create);
    let container = engine::containers(&daemon.cluster_id()).remove(0);
    let seen = engine::inspect(&container.id);
    let host = &seen["HostConfig"];
    assert_eq!(host["Memory"], 64 << 20);
    assert_eq!(host["MemorySwap"], 64 << 20);
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["PidsLimit"], 50);
    assert_eq!(host["ReadonlyRootfs"], true);
    assert!(host["SecurityOpt"].to_string().contains("no-new-privileges"), "{host:#}");
    assert!(
        host["CapAdd"].to_string().contains("NET_ADMIN") && host["CapDrop"].to_string().contains("CHOWN"),
        "{host:#}"
    );
    assert_eq!(host["Ulimits"][0]["Soft"], 100);
    let config = &seen["Config"];
    assert_eq!((&config["User"], &config["Hostname"]), (&"1000".into(), &"box".into()));
    assert_eq!(config["Labels"]["x"], "y");
    assert!(config["Env"].to_string().contains("A=b"));
}

#[test]
fn more_memory_than_its_limit_is_said_to_be_that() {
    let Some(()) = engine::present("more_memory_than_its_limit") else { return };
    let images = Images::make(&["1.0.0"]);
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    let mut create = vec!["service", "create", "--detach", "--name", "hungry", "--limit-memory", "16m"];
    let image = images.name("1.0.0");
    create.extend(["--restart-max-attempts", "1", &image, "alloc", "64"]);
    daemon.ok(&create);
    wait_shown(&daemon, "hungry", &["Failed", "out of memory"]);
}

#[test]
fn ends_of_every_kind_are_told_apart() {
    let Some(()) = engine::present("ends_of_every_kind_are_told_apart") else { return };
    let images = Images::make(&["1.0.0"]);
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    let image = images.name("1.0.0");
    let create = |name: &str, flags: &[&str], args: &[&str]| {
        let mut words = vec!["service", "create", "--detach", "--name", name];
        words.extend(flags);
        words.push(&image);
        words.extend(args);
        daemon.ok(&words);
    };
    create("exits", &["--restart-max-attempts", "1"], &["exit", "7"]);
    create("done", &["--restart-condition", "none"], &["exit", "0"]);
    create("nocommand", &["--restart-max-attempts", "1", "--entrypoint", "/not/there"], &[]);
    create(
        "sick",
        &[
            "--restart-max-attempts",
            "1",
            "--env",
            "UNHEALTHY=1",
            "--health-http",
            "8000/healthz",
            "--health-interval",
            "100ms",
            "--health-retries",
            "2",
        ],
        &[],
    );
    wait_shown(&daemon, "exits", &["Failed", "exit code 7"]);
    wait_shown(&daemon, "done", &["Complete"]);
    wait_shown(&daemon, "nocommand", &["Rejected", "/not/there"]);
    wait_shown(&daemon, "sick", &["Failed", "unhealthy"]);
}

#[test]
fn an_image_that_does_not_exist_is_retried_and_said() {
    let Some(()) = engine::present("an_image_that_does_not_exist_is_retried_and_said") else { return };
    let daemon = Daemon::cluster(MUSTER, Engine::Docker);
    // A registry that refuses connections at once, so that no name has to be looked up.
    let printed = daemon.run(&["service", "create", "--detach", "--name", "ghost", "127.0.0.1:9/ghost:1"]);
    assert!(printed.status.success() && printed.stderr.contains("127.0.0.1:9/ghost:1"), "a warning: {printed:#?}");
    wait::until("a second attempt", || {
        let shown = daemon.ok(&["service", "ps", "--no-trunc", "ghost"]);
        if shown.matches("could not be pulled").count() >= 2 { Ok(()) } else { Err(shown) }
    });
    assert_eq!(daemon.ok(&["service", "rm", "ghost"]), "ghost");
}

#[test]
fn daemons_share_an_engine_and_touch_only_their_own() {
    let Some(()) = engine::present("daemons_share_an_engine") else { return };
    let images = Images::make(&["1.0.0"]);
    let (one, other) = (Daemon::cluster(MUSTER, Engine::Docker), Daemon::cluster(MUSTER, Engine::Docker));
    for daemon in [&one, &other] {
        daemon.ok(&["service", "create", "--quiet", "--name", "web", &images.name("1.0.0")]);
    }
    let before = engine::containers(&other.cluster_id());
    one.ok(&["leave", "--force"]);
    assert_eq!(engine::containers(&one.cluster_id()), []);
    assert_eq!(engine::containers(&other.cluster_id()), before);
}
