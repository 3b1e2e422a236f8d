//! Whoever removes the hosts of a run: a process of its own that waits for the end of this one, so that they go also
//! when the tests are interrupted or killed. And how all processes of one host are found.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// For a killed process to end: longer only where the kernel holds it.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
const LOOKED_EVERY: Duration = Duration::from_millis(5);
const SCRIPT: &str = include_str!("remove.sh");

#[derive(Debug)]
pub(super) struct Guardian {
    folder: PathBuf,
    process: Child,
}

impl Guardian {
    pub(super) fn watch(run: &str, bridge: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("muster-hosts-").tempdir().expect("a temporary folder").keep();
        let process = Command::new("setsid")
            .args(["sh", "-c", SCRIPT, "remove", run, bridge])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process that removes the hosts");
        Self { folder, process }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // The end of its input is what it waits for.
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

/// Kills every process of a host, until none is left.
pub(super) fn kill_all(namespace: &str) {
    let begun = Instant::now();
    loop {
        let processes = processes(namespace);
        if processes.is_empty() {
            return;
        }
        assert!(begun.elapsed() < ENDED_WITHIN, "processes of {namespace} cannot be killed: {processes:?}");
        for process in processes {
            // One that has ended meanwhile cannot be killed, and need not be.
            let _ended = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        thread::sleep(LOOKED_EVERY);
    }
}

/// In the host's namespace or, in a container, below the cgroup that its engine was given. Those that have ended and are
/// not waited for yet do not count.
fn processes(namespace: &str) -> BTreeSet<i32> {
    let output = Command::new("ip").args(["netns", "pids", namespace]).output().expect("ip runs");
    let mut found = numbers(&String::from_utf8_lossy(&output.stdout));
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, within) = (entry.path(), folder.to_string_lossy().contains(namespace));
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if within && entry.file_name() == "cgroup.procs" {
                found.extend(numbers(&fs::read_to_string(path).unwrap_or_default()));
            }
        }
    }
    found.retain(|process| !ended(*process));
    found
}

fn numbers(text: &str) -> BTreeSet<i32> {
    text.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

fn ended(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
