//! The data folder when it is not as it was left: refused, with the way out, and never started empty over.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use muster_tests::daemon::{Daemon, Engine};

use crate::MUSTER;

fn stopped_cluster() -> Daemon {
    let mut daemon = Daemon::cluster(MUSTER, Engine::Sim);
    daemon.ok(&["service", "create", "--quiet", "--name", "kept", "sim:1"]);
    daemon.stop();
    daemon
}

/// The largest file below a folder: the log's only segment.
fn largest_file(folder: &Path) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut largest = (0, folder.to_owned());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            let length = entry.metadata().unwrap().len();
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if length > largest.0 {
                largest = (length, entry.path());
            }
        }
    }
    largest.1
}

#[test]
fn a_store_cut_short_is_refused_and_left_alone() {
    let mut daemon = stopped_cluster();
    let file = largest_file(&daemon.data_dir().join("manager/log"));
    fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    let said = daemon.refuses_to_start();
    assert!(said.contains("is damaged") && said.contains("join again with a token"), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().len(), 0, "the daemon wrote to a store it refused");
}

#[test]
fn a_store_that_is_gone_is_refused() {
    let mut daemon = stopped_cluster();
    fs::remove_dir_all(daemon.data_dir().join("manager")).unwrap();
    let said = daemon.refuses_to_start();
    assert!(said.contains("missing") && said.contains("join again with a token"), "{said}");
}

#[test]
fn a_lost_membership_record_is_refused() {
    let mut daemon = stopped_cluster();
    fs::remove_file(daemon.data_dir().join("member/node.json")).unwrap();
    let said = daemon.refuses_to_start();
    assert!(said.contains("holds the state of a cluster"), "{said}");
}

#[test]
fn a_folder_of_another_format_is_refused() {
    let mut daemon = stopped_cluster();
    fs::write(daemon.data_dir().join("FORMAT"), "muster data folder, format 99\n").unwrap();
    let said = daemon.refuses_to_start();
    assert!(said.contains("run the version that wrote it"), "{said}");
}

#[test]
fn a_folder_that_is_a_file_is_refused() {
    let mut daemon = stopped_cluster();
    fs::remove_dir_all(daemon.data_dir()).unwrap();
    fs::write(daemon.data_dir(), "no folder").unwrap();
    fs::set_permissions(daemon.data_dir(), fs::Permissions::from_mode(0o400)).unwrap();
    let said = daemon.refuses_to_start();
    assert!(said.contains("cannot write to the data folder"), "{said}");
}

#[test]
fn two_daemons_do_not_share_a_folder() {
    let daemon = Daemon::start(MUSTER, Engine::Sim);
    let output = std::process::Command::new(MUSTER)
        .args(["daemon", "--engine", "sim", "--listen-addr", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(daemon.data_dir())
        .arg("--socket")
        .arg(daemon.folder().join("other.sock"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("another daemon uses the data folder"), "{said}");
}
