//! A service as the benchmarks make it: created, watched until its tasks run, removed with every container.

use std::{
    thread,
    time::{Duration, Instant},
};

use muster_tests::{daemon::Daemon, engine};

const NAME: &str = "bench";
/// Each look is a process of its own: more often, and the looking would be what is measured.
const POLL: Duration = Duration::from_millis(100);

/// Seconds from the start of the command until `service ps` shows every task as Running.
pub(crate) fn create(daemon: &Daemon, image: &str, replicas: usize) -> f64 {
    let count = replicas.to_string();
    let began = Instant::now();
    daemon.ok(&["service", "create", "--detach", "--name", NAME, "--replicas", &count, image]);
    while daemon.states(NAME).iter().filter(|state| *state == "Running").count() < replicas {
        thread::sleep(POLL);
    }
    began.elapsed().as_secs_f64()
}

/// Seconds until the command says that the update is complete.
pub(crate) fn update(daemon: &Daemon, image: &str, flags: &[&str]) -> f64 {
    let began = Instant::now();
    daemon.ok(&[&["service", "update", "--quiet", "--image", image], flags, &[NAME]].concat());
    began.elapsed().as_secs_f64()
}

/// Returns once no container is left.
pub(crate) fn remove(daemon: &Daemon) {
    daemon.ok(&["service", "rm", NAME]);
    while !engine::containers(&daemon.cluster_id()).is_empty() {
        thread::sleep(POLL);
    }
}
