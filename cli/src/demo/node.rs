//! One node of the demo: a daemon as a child process, with a folder, a socket and a loopback address of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

/// The port that nodes use unless told otherwise.
const PORT: u16 = 7377;
const DAEMON_START: Duration = Duration::from_secs(20);
const COMMAND_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Node {
    /// As the demo calls it; its hostname is this machine's, as that of the others.
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    program: PathBuf,
    docker_socket: PathBuf,
    folder: PathBuf,
    daemon: Option<Child>,
}

impl Node {
    /// Not yet running. Its folder is made in `parent`.
    pub(super) fn new(name: String, address: Ipv4Addr, program: &Path, docker_socket: &Path, parent: &Path) -> Self {
        Self {
            address,
            program: program.to_owned(),
            docker_socket: docker_socket.to_owned(),
            folder: parent.join(&name),
            daemon: None,
            name,
        }
    }

    /// Where the other nodes reach it.
    pub(super) fn listens(&self) -> SocketAddr {
        (self.address, PORT).into()
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("muster.sock")
    }

    pub(super) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().and_then(Child::id)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// Runs, and answers on its socket.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.folder).context("cannot make a node's folder")?;
        let log = std::fs::File::options().create(true).append(true).open(self.log());
        let child = Command::new(&self.program)
            .arg("daemon")
            .arg("--data-dir")
            .arg(self.folder.join("data"))
            .args(["--listen-addr", &self.listens().to_string()])
            .arg("--socket")
            .arg(self.socket())
            .arg("--docker-socket")
            .arg(&self.docker_socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.context("cannot write the daemon's log")?)
            // A Ctrl-C at the terminal is for the demo, which then ends the daemons in order.
            .process_group(0)
            .spawn()
            .context("cannot start the daemon")?;
        self.daemon = Some(child);
        let began = Instant::now();
        while tokio::net::UnixStream::connect(self.socket()).await.is_err() {
            let ended = self.daemon.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || began.elapsed() > DAEMON_START {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                bail!("the daemon of {} did not start: {}", self.name, log.trim_end());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// SIGKILL, at whatever it does; returns once the process is gone.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.daemon.take() else { return Ok(()) };
        child.kill().await.with_context(|| format!("cannot end the daemon of {}", self.name))
    }

    /// Runs `muster ARGS` as a user of this node would, and returns what it printed.
    pub(super) async fn muster(&self, args: &[&str]) -> anyhow::Result<String> {
        let child = Command::new(&self.program)
            .args(args)
            .env("MUSTER_HOST", self.host())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot run muster")?;
        let output = tokio::time::timeout(COMMAND_MAX, child.wait_with_output())
            .await
            .with_context(|| format!("`muster {}` did not end within {COMMAND_MAX:?}", args.join(" ")))??;
        if !output.status.success() {
            bail!("`muster {}` failed: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim_end());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }
}

/// An address for each of so many nodes, on a loopback network where nobody listens: no two demos draw the same.
pub(super) fn addresses<const COUNT: usize>() -> anyhow::Result<[Ipv4Addr; COUNT]> {
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        let [a, b] = rand::random::<u16>().to_be_bytes();
        // Odd, so that the machine's own 127.0.0.1 is not among them.
        let addresses = std::array::from_fn(|number| Ipv4Addr::new(127, a | 1, b, 11 + number as u8));
        if are_free(&addresses, PORT) {
            return Ok(addresses);
        }
    }
    bail!(
        "no loopback address with a free port {PORT} was found; the demo needs Linux, where 127.0.0.0/8 is this host's"
    )
}

/// `first` or one of the ports after it, nobody's at any of the addresses.
pub(super) fn free_port(addresses: &[Ipv4Addr], first: u16) -> Option<u16> {
    const TRIES: u16 = 200;
    (first..first.saturating_add(TRIES)).find(|port| are_free(addresses, *port))
}

fn are_free(addresses: &[Ipv4Addr], port: u16) -> bool {
    addresses.iter().all(|address| std::net::TcpListener::bind((*address, port)).is_ok())
}
