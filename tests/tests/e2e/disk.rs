//! Disks that are full: real ones, to the last byte.

use std::{fs, path::Path};

use muster_tests::{
    cluster::{Cluster, Loopback},
    daemon::{Daemon, Engine},
    small_disk::{self, SmallDisk},
    wait,
};

use crate::MUSTER;

/// Room for a cluster's log a few times over, and quickly filled.
const MEBIBYTES: u64 = 64;

fn create(name: &str) -> [&str; 8] {
    ["service", "create", "--detach", "--quiet", "--name", name, "--replicas", "0"]
}

fn created(daemon: &Daemon, name: &str) {
    daemon.ok(&[create(name).as_slice(), &["sim:1"]].concat());
}

fn names(daemon: &Daemon) -> Vec<String> {
    let mut names: Vec<String> =
        daemon.ok(&["service", "ls", "--format", "{{.Name}}"]).lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// With its data folder on a disk of its own.
fn on_a_small_disk(network: Loopback) -> (SmallDisk, Daemon) {
    let mut daemon = Daemon::prepare(MUSTER, Engine::Sim, network.place(0), &[]);
    fs::create_dir(daemon.data_dir()).unwrap();
    let disk = SmallDisk::mount(&daemon.data_dir(), MEBIBYTES).unwrap();
    daemon.restart();
    (disk, daemon)
}

fn unfinished(folder: &Path) -> usize {
    let entries = fs::read_dir(folder.join("manager/snapshots")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|it| it == "tmp")).count()
}

#[test]
fn a_leader_whose_disk_is_full_gives_way_and_is_a_manager_again_when_there_is_room() {
    let Some(()) = small_disk::present("a_leader_whose_disk_is_full") else { return };
    let network = Loopback::new();
    let (disk, first) = on_a_small_disk(network);
    let others = (1..3).map(|number| Daemon::start_at(MUSTER, Engine::Sim, network.place(number)));
    let mut cluster = Cluster::form(std::iter::once(first).chain(others).collect(), 3);
    assert_eq!(cluster.leader(), 0);
    created(&cluster[0], "before");

    disk.fill();
    wait::until("another leader", || match cluster.leader_by(1) {
        0 => Err("the first still leads"),
        _ => Ok(()),
    });
    // Through any of them.
    created(&cluster[1], "meanwhile-1");
    created(&cluster[0], "meanwhile-2");

    disk.make_room();
    cluster.wait_managers(1, 3);
    // Its word is needed now.
    let third = if cluster.leader_by(1) == 2 { 1 } else { 2 };
    cluster[third].kill();
    let up = 3 - third;
    wait::until("a write that the first has a part in", || {
        let printed = cluster[up].run(&[create("after").as_slice(), &["sim:1"]].concat());
        if printed.status.success() || printed.stderr.contains("already") { Ok(()) } else { Err(printed) }
    });
    assert_eq!(names(&cluster[0]), ["after", "before", "meanwhile-1", "meanwhile-2"]);
    assert_eq!(unfinished(&cluster[0].data_dir()), 0);
}

#[test]
fn a_single_manager_on_a_full_disk_acknowledges_nothing_keeps_everything_and_heals() {
    let Some(()) = small_disk::present("a_single_manager_on_a_full_disk") else { return };
    let (disk, mut daemon) = on_a_small_disk(Loopback::new());
    daemon.init();
    created(&daemon, "before");
    disk.fill();
    // The last ones that still found room count like any other.
    let mut acknowledged = vec!["before".to_owned()];
    let refused = wait::until("a refusal", || {
        let name = format!("late-{}", acknowledged.len());
        let printed = daemon.run(&[create(&name).as_slice(), &["sim:1"]].concat());
        if printed.status.success() {
            acknowledged.push(name);
            return Err(printed.stdout);
        }
        Ok(printed.stderr)
    });
    assert!(refused.contains("nearly full") && refused.contains("make room"), "{refused}");
    assert_eq!(names(&daemon), acknowledged);

    disk.make_room();
    wait::until("a write", || {
        let printed = daemon.run(&[create("after").as_slice(), &["sim:1"]].concat());
        if printed.status.success() { Ok(()) } else { Err(printed.stderr) }
    });
    acknowledged.push("after".to_owned());
    acknowledged.sort();
    assert_eq!(names(&daemon), acknowledged);

    // Started on a full disk it says so, and loses nothing by it.
    daemon.kill();
    disk.fill();
    let said = daemon.refuses_to_start();
    assert!(said.contains("make room") || said.contains("No space left"), "{said}");
    disk.make_room();
    daemon.restart();
    let shown = wait::until("its services", || {
        let shown = daemon.run(&["service", "ls", "--quiet"]);
        if shown.status.success() { Ok(shown.stdout) } else { Err(shown.stderr) }
    });
    assert_eq!(shown.lines().count(), acknowledged.len());
}
