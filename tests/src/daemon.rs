//! One daemon as a real process, with a folder, an address and a socket of its own, and the command line to it.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use muster_chaos::hosts::Hosts;
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

/// Where a daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The network namespace it runs in; none: the machine's own.
    namespace: Option<String>,
    listen: SocketAddr,
    /// Where others reach it.
    address: SocketAddr,
}

/// The port that nodes use unless told otherwise.
pub const PORT: u16 = 7377;

impl Place {
    /// An address of this machine.
    #[must_use]
    pub fn local(address: SocketAddr) -> Self {
        Self { namespace: None, listen: address, address }
    }

    /// A host of its own, on all of whose addresses the daemon listens.
    #[must_use]
    pub fn host(hosts: &Hosts, number: usize) -> Self {
        Self {
            namespace: Some(hosts.namespace(number).to_owned()),
            listen: (Ipv4Addr::UNSPECIFIED, PORT).into(),
            address: (hosts.address(number), PORT).into(),
        }
    }

    /// Listens here, and says that others reach it there.
    #[must_use]
    pub fn advertised_as(self, there: &Self) -> Self {
        Self { address: there.address, ..self }
    }

    /// How to start a program there.
    fn command(&self, program: &Path) -> Command {
        match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).arg(program);
                command
            }
        }
    }
}

#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    folder: tempfile::TempDir,
    engine: Engine,
    place: Place,
    flags: Vec<String>,
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
        Self::start_at(program, engine, Place::local((Ipv4Addr::LOCALHOST, free_port()).into()))
    }

    /// As [`Daemon::start`], at an address or on a host of its own.
    #[must_use]
    pub fn start_at(program: &str, engine: Engine, place: Place) -> Self {
        let mut daemon = Self::prepare(program, engine, place, &[]);
        daemon.restart();
        daemon
    }

    /// Not yet running, with more flags.
    #[must_use]
    pub fn prepare(program: &str, engine: Engine, place: Place, flags: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("muster-test-").tempdir().expect("a temporary folder");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Self { program: PathBuf::from(program), folder, engine, place, flags, child: None, cluster: None }
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
        self.note_cluster();
    }

    /// Becomes a node of another daemon's cluster.
    pub fn join(&mut self, of: &Daemon, role: &str) {
        let token = of.ok(&["join-token", "--quiet", role]);
        self.ok(&["join", "--token", &token, &of.address().to_string()]);
        self.note_cluster();
    }

    /// So that its containers are found, whatever becomes of the daemon.
    pub fn note_cluster(&mut self) {
        self.cluster = self.record("cluster_id");
    }

    /// Of the daemon in its cluster.
    #[must_use]
    pub fn node_id(&self) -> String {
        self.record("node_id").expect("the daemon is in a cluster")
    }

    fn record(&self, field: &str) -> Option<String> {
        let record = std::fs::read_to_string(self.data_dir().join("member/node.json")).ok()?;
        let record: serde_json::Value = serde_json::from_str(&record).expect("the membership record is JSON");
        record[field].as_str().map(str::to_owned)
    }

    /// Where other nodes reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.place.address
    }

    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// From its next start on, which says so.
    pub fn move_to(&mut self, place: Place) {
        const FLAG: &str = "--advertise-addr=";
        assert!(self.child.is_none(), "the daemon still runs");
        self.flags.retain(|flag| !flag.starts_with(FLAG));
        self.flags.push(format!("{FLAG}{}", place.address));
        self.place = place;
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
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
        let mut command = self.place.command(&self.program);
        command
            .arg("daemon")
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen-addr", &self.place.listen.to_string()])
            .args(&self.flags)
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

    /// SIGSTOP: it holds its connections and does nothing.
    pub fn pause(&self) {
        kill(self.pid(), Signal::SIGSTOP).expect("the daemon is ours to pause");
    }

    pub fn resume(&self) {
        kill(self.pid(), Signal::SIGCONT).expect("the daemon is ours to resume");
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
