//! A Docker Engine of a test's own, to stop and start underneath a daemon without harm to anyone else.
//!
//! It has no bridge and a network namespace of its own, so its containers have no network.

use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};

use crate::wait;

#[derive(Debug)]
pub struct PrivateEngine {
    folder: tempfile::TempDir,
    child: Option<Child>,
}

/// None, said aloud, where no engine of one's own can be run; with `CI=true` that is a failure.
#[must_use]
pub fn present(test: &str) -> Option<()> {
    let found = Command::new("unshare")
        .args(["--net", "dockerd", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if found && geteuid().is_root() {
        return Some(());
    }
    let why = "it runs an engine of its own, for which it needs dockerd, unshare and root";
    assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{test} cannot run: {why}");
    eprintln!("skipped {test}: {why}");
    None
}

impl PrivateEngine {
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("muster-engine-").tempdir().expect("a temporary folder");
        let mut engine = Self { folder, child: None };
        engine.restart();
        engine
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the engine still runs");
        let path = |name: &str| self.folder.path().join(name);
        let log = File::options().create(true).append(true).open(path("engine.log")).expect("a log file");
        // Not the machine's own settings.
        fs::write(path("engine.json"), "{}").expect("a settings file");
        // In a network namespace of its own: an engine without a bridge removes `docker0`, wherever it finds it.
        let child = Command::new("unshare")
            .args(["--net", "dockerd", "--config-file"])
            .arg(path("engine.json"))
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("engine.pid"))
            .args(["-H", &format!("unix://{}", self.socket().display())])
            .args(["--bridge", "none", "--iptables=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        self.child = Some(child);
        wait::until("the private engine to answer", || {
            let log = || fs::read_to_string(path("engine.log")).unwrap_or_default();
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                panic!("dockerd ended ({status}): {}", log());
            }
            UnixStream::connect(path("docker.sock")).map(drop)
        });
    }

    /// SIGTERM, which also ends its containers.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("the engine runs");
        kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id fits")), Signal::SIGTERM)
            .expect("the engine is ours to stop");
        wait::until("the private engine to stop", || child.try_wait().ok().flatten().ok_or("still runs"));
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or_default());
            // It may have ended by itself. Either way it is waited for, so that its mounts can be removed.
            if kill(pid, Signal::SIGTERM).is_ok() {
                drop(child.wait());
            }
        }
        // The engine may leave mounts behind when it is stopped in the middle of something; only those below our own
        // folder are ours.
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let ours = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|at| at.starts_with(&*self.folder.path().to_string_lossy()));
        for mount in ours.collect::<Vec<_>>().into_iter().rev() {
            drop(Command::new("umount").args(["-l", mount]).status());
        }
    }
}
