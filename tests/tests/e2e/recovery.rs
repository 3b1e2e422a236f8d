//! Ways back: after quorum was lost, from a backup, on new addresses; and what is refused on the way.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use muster_tests::{
    cluster::{Cluster, Loopback},
    daemon::{Daemon, Engine, PORT},
    engine::{self, Images},
    settings, wait,
};

use crate::MUSTER;

fn create(daemon: &Daemon, name: &str) {
    daemon.ok(&["service", "create", "--detach", "--quiet", "--name", name, "--replicas", "0", "sim:1"]);
}

fn names(daemon: &Daemon) -> BTreeSet<String> {
    daemon.ok(&["service", "ls", "--format", "{{.Name}}"]).lines().map(str::to_owned).collect()
}

/// Running containers of a cluster by id.
fn running(cluster: &str) -> BTreeSet<String> {
    let running = engine::containers(cluster).into_iter().filter(|container| container.state == "running");
    running.map(|container| container.id).collect()
}

#[test]
fn quorum_lost_and_recovered_with_containers_untouched() {
    let Some(()) = engine::present("quorum_lost_and_recovered") else { return };
    let images = Images::make(&["1.0.0"]);
    let mut cluster = Cluster::local(MUSTER, &Engine::Docker, 3, 0);
    let id = cluster[0].cluster_id();
    // Nodes without a daemon for a while are not what is looked at.
    settings::change(&cluster[0], |spec| spec.lease_ms = 60_000);
    cluster.wait_ready(0);
    cluster[0].ok(&["service", "create", "--quiet", "--name", "web", "--replicas", "3", &images.name("1.0.0")]);
    cluster[0].wait_running("web", 3);
    let before = running(&id);
    assert_eq!(before.len(), 3);

    cluster[1].kill();
    cluster[2].kill();
    let said = cluster[0].refused(&["service", "create", "--detach", "--name", "lost", "sim:1"]);
    assert!(said.contains("leader") || said.contains("majority"), "{said}");
    let said = cluster[0].ok(&["recover", "--yes"]);
    assert!(said.contains(&id), "{said}");
    assert_eq!(running(&id), before, "a recovery touched a container");

    // Who was a manager before is none any more, goes on as a worker, and can be made one again.
    cluster[1].restart();
    wait::until("the former manager to be a worker", || {
        let log = cluster[1].log();
        if log.contains("no manager any more") { Ok(()) } else { Err(log) }
    });
    assert_eq!(running(&id), before, "the return of a former manager touched a container");
    let managers = cluster[0].ok(&["node", "ls", "--filter", "role=manager", "-q"]);
    assert_eq!(managers, cluster[0].node_id());
    cluster[0].ok(&["node", "promote", &cluster[1].node_id()]);
    cluster.wait_managers(0, 2);
    assert_eq!(running(&id), before, "a promotion touched a container");
}

#[test]
fn a_recovery_is_refused_while_a_majority_answers() {
    let mut cluster = Cluster::of(MUSTER, 3);
    create(&cluster[0], "kept");
    let said = cluster[0].refused(&["recover", "--yes"]);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(names(&cluster[1]), ["kept".to_owned()].into());
    // On a host in no cluster, and on a worker.
    let alone = Daemon::start(MUSTER, Engine::Sim);
    assert!(alone.refused(&["recover", "--yes"]).contains("no cluster"));
    cluster[2].kill();
    let said = cluster[0].refused(&["recover", "--yes"]);
    assert!(said.contains("--force"), "two of three are a majority: {said}");
}

const CERTIFICATE_END: &[&str] = &["node", "inspect", "--format", "{{.CertificateExpiresAt}}", "self"];

#[test]
fn former_managers_that_return_with_a_quorum_of_their_own_are_refused_and_go_on_as_workers() {
    let mut cluster = Cluster::of(MUSTER, 3);
    create(&cluster[0], "kept");
    let before = cluster[0].run(CERTIFICATE_END).stdout;
    cluster[1].kill();
    cluster[2].kill();
    let nobody = format!("{}:{PORT}", Loopback::new().address(0));
    let said = cluster[0].refused(&["recover", "--yes", "--advertise-addr", &nobody]);
    assert!(said.contains(&format!("{nobody} does not lead to this host")), "{said}");
    cluster[0].ok(&["recover", "--yes", "--advertise-addr", &cluster[0].address().to_string()]);
    // It signed itself one as the manager that it is now.
    wait::until("the cluster to know the survivor's certificate", || {
        let now = cluster[0].run(CERTIFICATE_END).stdout;
        if !now.trim().is_empty() && now != before { Ok(()) } else { Err(now) }
    });
    create(&cluster[0], "since");
    // Two of three: they could lead a cluster of the same id.
    cluster[1].restart();
    cluster[2].restart();
    for former in [1, 2] {
        wait::until("the former manager to be a worker of the recovered cluster", || {
            let shown = cluster[former].run(&["service", "ls"]);
            let manager = format!("its manager, {}", cluster[0].address());
            let is_worker = shown.stderr.contains("is a worker") && shown.stderr.contains(&manager);
            if is_worker { Ok(()) } else { Err((shown, cluster[former].log())) }
        });
    }
    let managers = cluster[0].ok(&["node", "ls", "--filter", "role=manager", "-q"]);
    assert_eq!(managers, cluster[0].node_id());
    assert_eq!(names(&cluster[0]), ["kept".to_owned(), "since".to_owned()].into());
    // What was set aside holds the cluster's keys as well.
    let former = cluster[0].data_dir().join("manager.former");
    assert!(former.exists());
    cluster[0].ok(&["leave", "--force"]);
    assert!(!former.exists());
}

#[test]
fn a_recovery_is_refused_on_a_manager_that_the_others_let_go() {
    let cluster = Cluster::of(MUSTER, 3);
    let leader = cluster.leader();
    let demoted = cluster.after(leader);
    cluster[leader].ok(&["node", "demote", &cluster[demoted].node_id()]);
    // Whether it has noticed or not: the managers have a quorum.
    let said = cluster[demoted].refused(&["recover", "--yes"]);
    assert!(["no manager", "has stopped", "have a quorum"].iter().any(|why| said.contains(why)), "{said}");
    create(&cluster[leader], "web");
}

fn passphrase(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join(format!("passphrase-{text}"));
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn backups_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (right, wrong) = (passphrase(folder.path(), "right passphrase"), passphrase(folder.path(), "wrong passphrase"));
    let (right, wrong) = (right.to_str().unwrap(), wrong.to_str().unwrap());
    let cluster = Cluster::of(MUSTER, 1);
    create(&cluster[0], "web");
    let file = path("good.backup");
    cluster[0].ok(&["backup", "--passphrase-file", right, &file]);
    assert!(cluster[0].refused(&["backup", "--passphrase-file", right, &file]).contains("exists"));

    let whole = fs::read(&file).unwrap();
    let damaged = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(path(name), bytes).unwrap();
        path(name)
    };
    let middle = whole.len() / 2;
    let cases = [
        (damaged("flipped", &|bytes| bytes[middle] ^= 1), right),
        (damaged("cut", &|bytes| bytes.truncate(middle)), right),
        (damaged("longer", &|bytes| bytes.extend([0; 16])), right),
        (damaged("empty", &Vec::clear), right),
        (damaged("other", &|bytes| *bytes = b"no backup at all, but a text".to_vec()), right),
        (file, wrong),
        (path("missing"), right),
    ];
    let host = Daemon::start(MUSTER, Engine::Sim);
    for (file, secret) in &cases {
        let said = host.refused(&["restore", "--passphrase-file", secret, file]);
        assert!(said.contains(file.as_str()) && !said.contains("Err(") && said.lines().count() <= 4, "{file}: {said}");
        assert!(host.ok(&["info"]).contains("muster init"), "after {file} the host is in a cluster");
    }
}

#[test]
fn a_backup_is_restored_on_new_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("cluster.backup"), passphrase(folder.path(), "correct horse battery"));
    let (file, secret) = (file.to_str().unwrap(), secret.to_str().unwrap());
    let cluster = Cluster::of(MUSTER, 3);
    create(&cluster[0], "web");
    let old = cluster[0].cluster_id();
    // From any manager.
    let leader = cluster.leader();
    cluster[cluster.after(leader)].ok(&["backup", "--passphrase-file", secret, file]);
    create(&cluster[0], "later");
    drop(cluster);

    let network = Loopback::new();
    let mut first = Daemon::start_at(MUSTER, Engine::Sim, network.place(0));
    let nobody = format!("{}:{PORT}", network.address(9));
    let said = first.refused(&["restore", "--passphrase-file", secret, "--advertise-addr", &nobody, file]);
    assert!(said.contains(&format!("{nobody} does not lead to this host")), "{said}");
    first.ok(&["restore", "--passphrase-file", secret, file]);
    first.note_cluster();
    assert_eq!(first.cluster_id(), old);
    assert_eq!(names(&first), ["web".to_owned()].into());
    let said = first.refused(&["restore", "--passphrase-file", secret, file]);
    assert!(said.contains("already") || said.contains("muster leave"), "{said}");
    let mut second = Daemon::start_at(MUSTER, Engine::Sim, network.place(1));
    second.join(&first, "manager");
    assert_eq!(names(&second), ["web".to_owned()].into());
}

/// Who manages now they do not know, and two of three would lead a cluster of their own.
#[test]
fn former_managers_that_return_after_a_restore_elsewhere_go_on_as_workers() {
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("cluster.backup"), passphrase(folder.path(), "correct horse battery"));
    let (file, secret) = (file.to_str().unwrap(), secret.to_str().unwrap());
    let mut cluster = Cluster::of(MUSTER, 3);
    create(&cluster[0], "web");
    cluster[0].ok(&["backup", "--passphrase-file", secret, file]);
    let network = Loopback::new();
    let mut now = Daemon::start_at(MUSTER, Engine::Sim, network.place(0));
    let refused = |now: &Daemon, running: &Daemon| {
        let said = now.refused(&["restore", "--passphrase-file", secret, file]);
        assert!(said.contains(&running.address().to_string()) && said.contains("--force"), "{said}");
        assert!(now.ok(&["info"]).contains("muster init"), "it left something behind");
    };
    refused(&now, &cluster[2]);
    create(&cluster[0], "later");
    cluster[0].kill();
    cluster[1].kill();
    // Without a quorum it could be recovered.
    refused(&now, &cluster[2]);
    cluster[2].kill();
    now.ok(&["restore", "--passphrase-file", secret, file]);
    now.note_cluster();
    for former in [1, 2] {
        cluster[former].restart();
    }
    for former in [1, 2] {
        wait::until("the former manager to be a worker of the restored cluster", || {
            let shown = cluster[former].run(&["service", "ls"]);
            let there = format!("is a worker of its cluster; run the command on its manager, {}", now.address());
            if shown.stderr.contains(&there) { Ok(()) } else { Err((shown, cluster[former].log())) }
        });
    }
    create(&now, "since");
    assert_eq!(names(&now), ["since".to_owned(), "web".to_owned()].into());
    assert_eq!(now.ok(&["node", "ls", "--filter", "role=manager", "-q"]), now.node_id());
    now.ok(&["node", "promote", &cluster[1].node_id()]);
    assert_eq!(names(&cluster[1]), names(&now));
}

/// It knows one address, where nobody is any more.
#[test]
fn a_worker_is_called_by_the_manager_of_a_cluster_that_was_restored_elsewhere() {
    let Some(()) = engine::present("a_worker_is_called") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (folder.path().join("cluster.backup"), passphrase(folder.path(), "correct horse battery"));
    let (file, secret) = (file.to_str().unwrap(), secret.to_str().unwrap());
    let images = Images::make(&["1.0.0"]);
    let mut cluster = Cluster::local(MUSTER, &Engine::Docker, 1, 1);
    let id = cluster[0].cluster_id();
    // How long it takes to restore is not what is looked at.
    settings::change(&cluster[0], |spec| spec.lease_ms = 120_000);
    cluster.wait_ready(0);
    let there = ["--constraint", "node.role==worker"];
    let create = ["service", "create", "--quiet", "--name", "web", "--replicas", "2"];
    cluster[0].ok(&[&create[..], &there, &[&images.name("1.0.0")]].concat());
    let before = running(&id);
    assert_eq!(before.len(), 2);
    cluster[0].ok(&["backup", "--passphrase-file", secret, file]);
    cluster[0].kill();

    let mut now = Daemon::start_at(MUSTER, Engine::Docker, Loopback::new().place(0));
    now.ok(&["restore", "--passphrase-file", secret, file]);
    now.note_cluster();
    wait::until("the worker to be a node of the restored cluster", || {
        let shown = now.ok(&["node", "ls", "--format", "{{.ID}} {{.Status}}"]);
        let ready = format!("{} Ready", cluster[1].node_id());
        if shown.lines().any(|line| line == ready) { Ok(()) } else { Err((shown, cluster[1].log())) }
    });
    now.wait_running("web", 2);
    assert_eq!(running(&id), before, "a container was touched");
}
