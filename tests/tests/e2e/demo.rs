//! The demo does what the README says, and leaves nothing behind, however it ends.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use muster_tests::{daemon::free_port, engine, wait};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::MUSTER;

/// What a demo with this temporary folder has left: files, and images of its name.
fn left_over(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect()
}

fn demo(folder: &Path) -> Command {
    let mut command = Command::new(MUSTER);
    // Two demos at once would both find port 8000 free.
    command.args(["demo", "--port", &free_port().to_string()]).env("TMPDIR", folder).stdin(Stdio::null());
    command
}

/// The image names a demo printed.
fn images(printed: &str) -> Vec<&str> {
    let words = printed.split(|c: char| c.is_whitespace() || c == ',');
    words.filter(|word| word.starts_with("muster-demo-") && word.contains(":")).collect()
}

/// By the labels of its cluster; the label's value as the demo printed it.
fn cluster_kept(printed: &str) -> &str {
    let (_, rest) = printed.split_once("label=muster.cluster=").expect("how to end the cluster is printed");
    rest.split(' ').next().expect("the cluster's id")
}

#[test]
fn the_demo_runs_and_leaves_nothing() {
    let Some(()) = engine::present("the_demo_runs_and_leaves_nothing") else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    for said in
        ["3 managers, which also run services", "no write was accepted for ", "and so are its clients", " 0 failed"]
    {
        assert!(printed.contains(said), "{said:?} is missing: {printed}");
    }
    assert_eq!(left_over(folder.path()), Vec::<String>::new());
    assert!(!images(&printed).is_empty());
    for image in images(&printed) {
        assert_eq!(engine::image_id(image), None, "{image} is left");
    }
}

#[test]
fn the_demo_cleans_up_when_it_is_interrupted() {
    let Some(()) = engine::present("the_demo_cleans_up_when_it_is_interrupted") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until("the demo's first container", || {
        let data = std::fs::read_dir(folder.path()).unwrap().flatten().next().map(|entry| entry.path());
        let record = data.and_then(|data| std::fs::read_to_string(data.join("node1/data/member/node.json")).ok());
        let record: serde_json::Value =
            serde_json::from_str(&record.ok_or("no record")?).map_err(|_| "half a record")?;
        let found = engine::containers(record["cluster_id"].as_str().ok_or("no cluster")?);
        if found.is_empty() { Err("no container") } else { Ok(()) }
    });
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let status = wait::until("the demo to end", || child.try_wait().unwrap().ok_or("still runs"));
    assert_eq!(status.code(), Some(1));
    assert_eq!(left_over(folder.path()), Vec::<String>::new());
}

/// What it prints to talk to the three nodes and to end them is typed as it stands.
#[test]
fn the_demo_keeps_its_cluster_and_says_how_to_end_it() {
    let Some(()) = engine::present("the_demo_keeps_its_cluster") else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path()).arg("--keep").output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    let (used, ended) = printed.split_once("and end it with").expect("how to end it is printed");
    let hosts: Vec<&str> = used.lines().filter(|line| line.contains("export MUSTER_HOST=")).collect();
    let kept = Kept { end: ended.to_owned() };
    assert_eq!(hosts.len(), 3, "{printed}");
    for host in hosts {
        let shown = shell(&format!("{host}\n{MUSTER} node ls --format '{{{{.Status}}}}'"));
        assert_eq!(shown, "Ready\nReady\nReady\n");
    }
    for curl in used.lines().filter(|line| line.trim().starts_with("curl ")) {
        assert!(shell(&format!("{curl} --silent --show-error")).starts_with("version 2.0.0 "), "{curl}");
    }
    let cluster = cluster_kept(&printed);
    let running = engine::containers(cluster).into_iter().filter(|container| container.state == "running");
    assert_eq!(running.count(), 5);
    drop(kept);
    assert_eq!(engine::containers(cluster), Vec::new());
    assert_eq!(left_over(folder.path()), Vec::<String>::new());
    for image in images(&printed) {
        assert_eq!(engine::image_id(image), None, "{image} is left");
    }
}

/// Ended as was printed, also where the test fails before.
struct Kept {
    end: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(Command::new("sh").args(["-c", &self.end]).output());
    }
}

fn shell(text: &str) -> String {
    let output = Command::new("sh").args(["-ec", text]).output().unwrap();
    assert!(output.status.success(), "{text}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
