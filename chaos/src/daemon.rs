//! The daemon under test: a child of this process, which is killed with it and never found by name.

use std::{
    fs::OpenOptions,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::cli::{Answer, Muster};

/// From the start of the process to its first answer: recovery takes milliseconds, a busy machine takes longer.
const READY_WITHIN: Duration = Duration::from_secs(60);
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// The end of the log that a failure shows.
const LOG_LINES_SHOWN: usize = 20;
/// How the standard library's panic message begins, after the name of the thread.
const PANIC: &str = "panicked at";

/// Where a daemon lives: everything that outlasts its process.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    pub address: SocketAddr,
    /// The network namespace it runs in, where not in the machine's own.
    namespace: Option<String>,
    pub muster: Muster,
}

#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
}

impl Home {
    pub(crate) fn new(folder: &Path, binary: PathBuf) -> anyhow::Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        Ok(Self::at(folder, binary, free.local_addr()?, None))
    }

    pub(crate) fn at(folder: &Path, binary: PathBuf, address: SocketAddr, namespace: Option<String>) -> Self {
        let muster = Muster { binary, socket: folder.join("muster.sock") };
        Self { folder: folder.to_owned(), address, namespace, muster }
    }

    pub(crate) fn start(&self) -> anyhow::Result<Daemon> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = match &self.namespace {
            None => Command::new(&self.muster.binary),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).arg(&self.muster.binary);
                command
            }
        };
        let child = command
            .args(["daemon", "--engine", "sim", "--listen-addr", &self.address.to_string()])
            .arg("--data-dir")
            .arg(self.folder.join("data"))
            .arg("--socket")
            .arg(&self.muster.socket)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.muster.binary.display()))?;
        Ok(Daemon { child })
    }

    /// The first command that the daemon takes, `init` or `join`.
    pub(crate) async fn first(&self, daemon: &mut Daemon, command: &[&str]) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            match self.muster.run(command).await? {
                Answer::Done(_) => return Ok(()),
                Answer::Refused(_, text) | Answer::Unknown(text) => self.keep_waiting(daemon, begun, &text).await?,
            }
        }
    }

    /// How long after `begun` the daemon answers again.
    pub(crate) async fn ready(&self, daemon: &mut Daemon, begun: Instant) -> anyhow::Result<Duration> {
        loop {
            match self.muster.list().await {
                Ok(_) => return Ok(begun.elapsed()),
                Err(error) => self.keep_waiting(daemon, begun, &error.to_string()).await?,
            }
        }
    }

    async fn keep_waiting(&self, daemon: &mut Daemon, begun: Instant, why: &str) -> anyhow::Result<()> {
        if let Some(status) = daemon.child.try_wait()? {
            bail!("the daemon ended by itself ({status}); the end of its log:\n{}", self.log_end());
        }
        if begun.elapsed() > READY_WITHIN {
            bail!("the daemon does not answer after {READY_WITHIN:?}: {why}; the end of its log:\n{}", self.log_end());
        }
        sleep(ASKED_EVERY).await;
        Ok(())
    }

    /// Lines of the log that tell of a panic. A daemon may survive one, in a task of its own; it is a fault all the same.
    pub(crate) fn panics(&self) -> anyhow::Result<Vec<String>> {
        let log = std::fs::read(self.log()).context("cannot read the daemon's log")?;
        let log = String::from_utf8_lossy(&log);
        Ok(log.lines().filter(|line| line.contains(PANIC)).map(str::to_owned).collect())
    }

    fn log(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    fn log_end(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Daemon {
    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.child.id().context("the daemon has ended")?;
        kill(Pid::from_raw(i32::try_from(id)?), signal).context("cannot signal the daemon")
    }

    /// SIGKILL, and the end of the process awaited. An error when it had ended before: then it was not us.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the daemon ended by itself ({status}) before it was killed; its log is beside the history");
        }
        self.child.kill().await.context("cannot kill the daemon")
    }
}
