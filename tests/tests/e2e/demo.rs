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

#[test]
fn the_demo_runs_and_leaves_nothing() {
    let Some(()) = engine::present("the_demo_runs_and_leaves_nothing") else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains(" 0 failed"), "{printed}");
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
        let record = data.and_then(|data| std::fs::read_to_string(data.join("data/member/node.json")).ok());
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
