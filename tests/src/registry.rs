//! A registry of a test's own on loopback, which Docker Engine takes without TLS. It can be stopped and started again
//! and keeps what was pushed.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
};

use crate::{
    daemon::free_port,
    engine::{self, Images},
    wait,
};

const PROGRAM: &str = "docker-registry";

#[derive(Debug)]
pub struct Registry {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    /// Names without tag that were pushed here; the engine's images of these names go with the registry.
    pushed: Vec<String>,
}

/// What the engine and the registry call an image that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The same on every host that has the image.
    pub id: String,
    pub digest: String,
}

/// None, said aloud, where there is no registry to run; with `CI=true` that is a failure.
#[must_use]
pub fn present(test: &str) -> Option<()> {
    if Command::new(PROGRAM).arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Some(());
    }
    let why = format!("it runs a registry of its own, for which it needs {PROGRAM}");
    assert!(!env::var("CI").is_ok_and(|ci| ci == "true"), "{test} cannot run: {why}");
    eprintln!("skipped {test}: {why}");
    None
}

impl Registry {
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("muster-registry-").tempdir().expect("a temporary folder");
        let mut registry = Self { folder, port: free_port(), child: None, pushed: Vec::new() };
        registry.write_config();
        registry.restart();
        registry
    }

    fn write_config(&self) {
        let store = self.folder.path().join("store");
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \
             '127.0.0.1:{}', secret: test}}\n",
            store.display(),
            self.port
        );
        fs::write(self.folder.path().join("config.yml"), config).expect("the registry's settings");
    }

    /// The name of an image in this registry: `path` is `app` or `app:1`.
    #[must_use]
    pub fn name(&self, path: &str) -> String {
        format!("127.0.0.1:{}/{path}", self.port)
    }

    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the registry still runs");
        let log = File::options().create(true).append(true).open(self.folder.path().join("registry.log"));
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(self.folder.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn();
        self.child = Some(child.expect("the registry starts"));
        wait::until("the registry to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map(drop));
    }

    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("the registry runs");
        child.kill().expect("the registry is ours to stop");
        child.wait().expect("a registry that was stopped can be waited for");
    }

    /// Pushes an image of this host as `path:tag`, and takes the name off this host's image again.
    pub fn push(&mut self, images: &Images, version: &str, path: &str, tag: &str) -> Pushed {
        let repository = self.name(path);
        let pushed = engine::push(&images.name(version), &repository, tag);
        if !self.pushed.contains(&repository) {
            self.pushed.push(repository);
        }
        pushed
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // On the way out, perhaps of a failed test.
            drop(child.kill());
            drop(child.wait());
        }
        for repository in &self.pushed {
            engine::remove_repository(repository);
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("registry.log")).unwrap_or_default();
            eprintln!("--- log of the registry on port {}:\n{log}", self.port);
        }
    }
}
