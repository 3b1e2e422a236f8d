//! Certificates that end soon: renewed while the nodes run, healed where one was off too long; and a new root.

use std::fs;

use muster_tests::{
    cluster::{Cluster, Loopback},
    daemon::{Daemon, Engine, PORT},
    settings, wait,
};

use crate::MUSTER;

/// Short enough that several pass in a test, long enough for a loaded machine to renew in.
const VALIDITY_MS: u64 = 20_000;

fn shorten(daemon: &Daemon) {
    settings::change(daemon, |spec| spec.certificate_validity_ms = VALIDITY_MS);
}

/// When each node's certificate ends, as the cluster knows it.
fn ends(daemon: &Daemon) -> Vec<String> {
    let ids = daemon.ok(&["node", "ls", "-q"]);
    let end = |id: &str| daemon.ok(&["node", "inspect", "--format", "{{.CertificateExpiresAt}}", id]);
    ids.lines().map(end).collect()
}

#[test]
fn certificates_are_renewed_while_everything_runs() {
    let cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 1);
    cluster[0].ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "4", "sim:1"]);
    cluster[0].wait_running("web", 4);
    shorten(&cluster[0]);
    cluster[0].ok(&["ca", "rotate"]);
    let mut before = ends(&cluster[0]);
    for _ in 0..2 {
        wait::until("every certificate to be renewed", || {
            let now = ends(&cluster[1]);
            if now.iter().zip(&before).all(|(now, before)| now != before) { Ok(()) } else { Err(now) }
        });
        before = ends(&cluster[1]);
    }
    cluster.wait_managers(2, 3);
    cluster.wait_ready(2);
    cluster[2].wait_running("web", 4);
}

#[test]
fn a_node_that_was_off_too_long_heals_itself() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 1);
    shorten(&cluster[0]);
    cluster[0].ok(&["ca", "rotate"]);
    let asleep = [cluster.after(cluster.leader()), 3];
    let asleep = if asleep[0] == 3 { [0, 3] } else { asleep };
    for number in asleep {
        cluster[number].stop();
    }
    let awake = (0..3).find(|number| !asleep.contains(number)).unwrap();
    let at_rest: Vec<String> = asleep
        .iter()
        .map(|number| {
            cluster[awake].ok(&[
                "node",
                "inspect",
                "--format",
                "{{.CertificateExpiresAt}}",
                &cluster[*number].node_id(),
            ])
        })
        .collect();
    wait::until("the certificates of those that are off to end", || {
        let now = muster_proto::time::Timestamp::from_millis(millis()).to_string();
        if at_rest.iter().all(|end| *end < now) { Ok(()) } else { Err((now, at_rest.clone())) }
    });
    // Where the managers were when the worker got its certificate there is nobody by now.
    place_managers(&cluster[3], &format!("{}:{PORT}", Loopback::new().address(0)));
    for number in asleep {
        cluster[number].restart();
    }
    cluster.wait_ready(awake);
    cluster.wait_managers(asleep[0], 3);
}

/// What came with the node's certificate.
fn place_managers(daemon: &Daemon, address: &str) {
    let path = daemon.data_dir().join("member/node.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a record")).expect("JSON");
    record["managers"] = serde_json::json!([address]);
    fs::write(&path, record.to_string()).expect("a folder of this test");
}

/// Nobody else could sign the next.
#[test]
fn an_only_manager_that_slept_too_long_heals_itself() {
    let cluster = Cluster::of(MUSTER, 1);
    shorten(&cluster[0]);
    cluster[0].ok(&["ca", "rotate"]);
    let end = ends(&cluster[0]).remove(0);
    cluster[0].pause();
    wait::until("the certificate to end", || {
        let now = muster_proto::time::Timestamp::from_millis(millis()).to_string();
        if end < now { Ok(()) } else { Err((now, end.clone())) }
    });
    cluster[0].resume();
    wait::until("a certificate that is good", || {
        let shown = cluster[0].run(&["node", "ls", "--format", "{{.Status}}"]);
        let is_ready = shown.stdout.trim() == "Ready" && ends(&cluster[0]).first().is_some_and(|next| *next > end);
        if is_ready { Ok(()) } else { Err((shown, cluster[0].log())) }
    });
}

fn millis() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_millis()).expect("a clock of this age")
}

#[test]
fn the_root_is_rotated_and_nothing_is_interrupted() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 1);
    cluster[0].ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "4", "sim:1"]);
    cluster[0].wait_running("web", 4);
    let tasks = || cluster[0].ok(&["service", "ps", "-q", "web"]);
    let before = tasks();
    let old_token = cluster[0].ok(&["join-token", "--quiet", "worker"]);
    let old = cluster[0].ok(&["ca", "--format", "{{.Digest}}"]);
    cluster[1].ok(&["ca", "rotate"]);
    assert_ne!(cluster[2].ok(&["ca", "--format", "{{.Digest}}"]), old);
    assert_eq!(tasks(), before, "a rotation replaced a task");
    cluster.wait_ready(0);
    cluster.wait_managers(0, 3);

    let address = cluster[0].address().to_string();
    let mut late = Daemon::start_at(MUSTER, Engine::Sim, Loopback::new().place(0));
    late.refused(&["join", "--token", &old_token, &address]);
    late.join(&cluster[0], "worker");
    // Everyone is known by the new root also after a restart.
    for number in 0..4 {
        cluster[number].kill();
        cluster[number].restart();
    }
    cluster.push(late);
    cluster.wait_ready(0);
}

/// Those that are down when the root is exchanged trust only the former one when they return, and everyone else shows
/// certificates of the next.
#[test]
fn nodes_that_were_down_during_a_rotation_come_back() {
    let mut cluster = Cluster::local(MUSTER, &Engine::Sim, 3, 1);
    cluster.wait_ready(0);
    let manager = cluster.after(cluster.leader());
    let awake = (0..3).find(|number| *number != manager).expect("three");
    for away in [3, manager] {
        let id = cluster[away].node_id();
        cluster[away].stop();
        cluster[awake].ok(&["ca", "rotate", "--detach"]);
        wait::until("everybody else to have the new root", || {
            let waiting = cluster[awake].ok(&["ca", "--format", "{{json .WaitingFor}}"]);
            if waiting.matches('"').count() == 2 { Ok(()) } else { Err(waiting) }
        });
        cluster[away].restart();
        wait::until("the rotation to end", || {
            let shown = cluster[awake].ok(&["ca", "--format", "{{.Rotating}} {{.WaitingFor}}"]);
            if shown.starts_with("false") { Ok(()) } else { Err((id.clone(), shown)) }
        });
        cluster.wait_ready(awake);
        cluster.wait_managers(away.min(2), 3);
    }
}
