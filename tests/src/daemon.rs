//! One daemon as a real process, with a folder, an address and a socket of its own, and the command line to it.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{engine, wait};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The machine's own.
    Docker,
    /// One that a test may stop; see [`crate::private_engine`].
    DockerAt(PathBuf),
    Sim,
}

/// What a command printed and how it ended.
#[derive(Clone, Debug)]
pub struct Printed {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    folder: tempfile::TempDir,
    engine: Engine,
    listen: u16,
    child: Option<Child>,
    cluster: Option<String>,
}

/// A TCP port nobody listens on now.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

impl Daemon {
    /// Runs, and answers on its socket.
    #[must_use]
    pub fn start(program: &str, engine: Engine) -> Self {
        let folder = tempfile::Builder::new().prefix("muster-test-").tempdir().expect("a temporary folder");
        let mut daemon =
            Self { program: PathBuf::from(program), folder, engine, listen: free_port(), child: None, cluster: None };
        daemon.restart();
        daemon
    }

    /// As [`Daemon::start`], and in a cluster of its own.
    #[must_use]
    pub fn cluster(program: &str, engine: Engine) -> Self {
        let mut daemon = Self::start(program, engine);
        daemon.init();
        daemon
    }

    pub fn init(&mut self) {
        self.ok(&["init"]);
        let record = std::fs::read_to_string(self.data_dir().join("member/node.json")).expect("the membership record");
        let record: serde_json::Value = serde_json::from_str(&record).expect("the membership record is JSON");
        self.cluster = record["cluster_id"].as_str().map(str::to_owned);
    }

    /// Of the cluster it is in, or was in last.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        self.cluster.clone().expect("the daemon was in a cluster")
    }

    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("muster.sock")
    }

    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("daemon.log")).unwrap_or_default()
    }

    #[must_use]
    pub fn pid(&self) -> Pid {
        let child = self.child.as_ref().expect("the daemon runs");
        Pid::from_raw(i32::try_from(child.id()).expect("a process id fits"))
    }

    fn command(&self) -> Command {
        let log = File::options().create(true).append(true).open(self.folder.path().join("daemon.log"));
        let mut command = Command::new(&self.program);
        command
            .arg("daemon")
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen-addr", &format!("127.0.0.1:{}", self.listen)])
            .arg("--socket")
            .arg(self.socket())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"));
        match &self.engine {
            Engine::Docker => command.args(["--engine", "docker"]),
            Engine::DockerAt(socket) => command.args(["--engine", "docker", "--docker-socket"]).arg(socket),
            Engine::Sim => command.args(["--engine", "sim"]),
        };
        command
    }

    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the daemon still runs");
        self.child = Some(self.command().spawn().expect("the daemon starts"));
        wait::until("the daemon to answer on its socket", || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                panic!("the daemon ended ({status}): {}", self.log());
            }
            UnixStream::connect(self.socket()).map(drop)
        });
    }

    /// Starts a daemon that is expected to refuse, and returns what it said.
    pub fn refuses_to_start(&mut self) -> String {
        assert!(self.child.is_none(), "the daemon still runs");
        let before = self.log().len();
        let mut child = self.command().spawn().expect("the daemon starts");
        let status = wait::until("the daemon to refuse", || child.try_wait().ok().flatten().ok_or("still runs"));
        assert_eq!(status.code(), Some(1), "{}", self.log());
        self.log()[before..].to_owned()
    }

    /// SIGKILL, at whatever it does.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        child.kill().expect("the daemon is ours to kill");
        child.wait().expect("a killed daemon can be waited for");
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) {
        let pid = self.pid();
        kill(pid, Signal::SIGTERM).expect("the daemon is ours to stop");
        let mut child = self.child.take().expect("the daemon runs");
        let status = wait::until("the daemon to stop", || child.try_wait().ok().flatten().ok_or("still runs"));
        assert!(status.success(), "the daemon ended with {status} (signal {:?}): {}", status.signal(), self.log());
    }

    /// A command of this daemon's, not yet started.
    #[must_use]
    pub fn muster(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env("MUSTER_HOST", format!("unix://{}", self.socket().display())).stdin(Stdio::null());
        command
    }

    #[must_use]
    pub fn run(&self, args: &[&str]) -> Printed {
        let output = self.muster(args).output().expect("muster runs");
        Printed {
            status: output.status,
            stdout: String::from_utf8(output.stdout).expect("muster prints text"),
            stderr: String::from_utf8(output.stderr).expect("muster prints text"),
        }
    }

    /// What a command that must succeed printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let printed = self.run(args);
        assert!(printed.status.success(), "muster {args:?}: {printed:#?}\n{}", self.log());
        printed.stdout.trim_end().to_owned()
    }

    /// What a command that must fail with exit code 1 said.
    pub fn refused(&self, args: &[&str]) -> String {
        let printed = self.run(args);
        assert_eq!(printed.status.code(), Some(1), "muster {args:?}: {printed:#?}\n{}", self.log());
        printed.stderr.trim_end().to_owned()
    }

    /// `CURRENT STATE` of a service's tasks that are wanted, without the age: one line each.
    #[must_use]
    pub fn states(&self, service: &str) -> Vec<String> {
        let format = "{{.CurrentState}}";
        let shown = self.ok(&["service", "ps", "--filter", "desired-state=running", "--format", format, service]);
        shown.lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
    }

    pub fn wait_running(&self, service: &str, replicas: usize) {
        wait::until("all replicas to run", || {
            let states = self.states(service);
            let running = states.iter().filter(|state| *state == "Running").count();
            if running == replicas && states.len() == replicas { Ok(()) } else { Err(states) }
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // On the way out, perhaps of a failed test: what does not work here must not hide what did not work there.
        // Leaving waits for containers that the engine is just making; killing the daemon would not.
        if self.child.is_some() && self.cluster.is_some() && self.engine == Engine::Docker {
            drop(self.muster(&["leave", "--force"]).output());
        }
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if let (Engine::Docker, Some(cluster)) = (&self.engine, &self.cluster) {
            engine::remove_containers(cluster);
        }
        if std::thread::panicking() {
            eprintln!("--- log of the daemon in {}:\n{}", self.folder.path().display(), self.log());
        }
    }
}
