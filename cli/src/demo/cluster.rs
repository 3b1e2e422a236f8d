//! What the demo makes, and its removal: a folder, a daemon, two images, and through the daemon its containers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bollard::{Docker, errors::Error, query_parameters::RemoveImageOptions};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
};

use super::{Args, image};

const DAEMON_START: Duration = Duration::from_secs(20);
const DAEMON_STOP: Duration = Duration::from_secs(20);
const COMMAND_MAX: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Cluster {
    docker: Docker,
    docker_socket: PathBuf,
    program: PathBuf,
    /// Removed when the demo ends, kept with `--keep`.
    folder: Option<tempfile::TempDir>,
    folder_path: PathBuf,
    daemon: Option<Child>,
    /// A repository of its own for each demo, so that two of them never share an image.
    repository: String,
    images: Vec<String>,
    /// The image that is being made.
    builds: JoinSet<anyhow::Result<String>>,
    joined: bool,
    pub(super) port: u16,
}

impl Cluster {
    pub(super) async fn prepare(docker: Docker, args: &Args) -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("muster-demo-").tempdir().context("cannot make a temporary folder")?;
        let port = match args.port {
            Some(port) => port,
            None => free_port(image::PORT).context("no free port to publish the demo on; name one with --port")?,
        };
        Ok(Self {
            docker,
            docker_socket: args.docker_socket.clone(),
            program: std::env::current_exe().context("cannot find the muster program itself")?,
            folder_path: folder.path().to_owned(),
            folder: Some(folder),
            daemon: None,
            repository: format!("muster-demo-{:06x}", rand::random::<u32>() & 0xff_ffff),
            images: Vec::new(),
            builds: JoinSet::new(),
            joined: false,
            port,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder_path
    }

    pub(super) fn target(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn socket(&self) -> PathBuf {
        self.folder_path.join("muster.sock")
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn log(&self) -> PathBuf {
        self.folder_path.join("daemon.log")
    }

    pub(super) async fn start_daemon(&mut self) -> anyhow::Result<()> {
        // Any will do, and one that the kernel picks is not another demo's as well.
        let any = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let listen = any.context("no free port for the daemon")?.port();
        let log = std::fs::File::create(self.log()).context("cannot write the daemon's log")?;
        let child = Command::new(&self.program)
            .arg("daemon")
            .arg("--data-dir")
            .arg(self.folder_path.join("data"))
            .args(["--listen-addr", &format!("127.0.0.1:{listen}")])
            .arg("--socket")
            .arg(self.socket())
            .arg("--docker-socket")
            .arg(&self.docker_socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A Ctrl-C at the terminal is for the demo, which then ends the daemon in order.
            .process_group(0)
            .spawn()
            .context("cannot start the daemon")?;
        self.daemon = Some(child);
        let began = Instant::now();
        while tokio::net::UnixStream::connect(self.socket()).await.is_err() {
            let ended = self.daemon.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || began.elapsed() > DAEMON_START {
                bail!(
                    "the daemon did not start: {}",
                    std::fs::read_to_string(self.log()).unwrap_or_default().trim_end()
                );
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    pub(super) async fn make_image(&mut self, version: &str) -> anyhow::Result<String> {
        let reference = format!("{}:{version}", self.repository);
        // Noted before it is there, and made to its end whatever happens to the demo: cut off, the engine may make it
        // all the same, after the removal.
        self.images.push(reference.clone());
        let (docker, name) = (self.docker.clone(), reference.clone());
        self.builds.spawn(async move { image::build(&docker, &name).await });
        let built = self.builds.join_next().await.context("the image was not made")?;
        built.context("making the image broke off")??;
        Ok(reference)
    }

    /// Runs `muster ARGS` as a user would; its progress goes to the terminal, its output is returned.
    pub(super) async fn muster(&mut self, args: &[&str]) -> anyhow::Result<String> {
        self.joined |= args.first() == Some(&"init");
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

    /// Leaves everything as it is and says how to use and how to end it.
    pub(super) fn keep(mut self) {
        let pid = self.daemon.as_ref().and_then(Child::id).unwrap_or_default();
        let folder = self.folder.take().map_or_else(|| self.folder_path.clone(), tempfile::TempDir::keep);
        say!("\nthe cluster keeps running; talk to it with\n");
        say!("  export MUSTER_HOST={}", self.host());
        say!("  {} service ps web", self.program.display());
        say!("  curl {}", self.target());
        say!("\nand end it with\n");
        say!("  {} leave --force && kill {pid}", self.program.display());
        say!("  docker rmi {} && rm -r {}", self.images.join(" "), folder.display());
    }

    /// Removes all that was made, in the reverse order. Goes on past a failure and reports the first.
    pub(super) async fn remove(mut self) -> anyhow::Result<()> {
        let left = if self.joined { self.leave().await } else { Ok(()) };
        let stopped = self.stop_daemon().await;
        while self.builds.join_next().await.is_some() {}
        let mut removed = Ok(());
        for reference in std::mem::take(&mut self.images) {
            let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
            match self.docker.remove_image(&reference, Some(options), None).await {
                // Interrupted before it was made.
                Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
                Err(error) => {
                    removed = removed.and(Err(error).with_context(|| format!("cannot remove the image {reference}")));
                }
            }
        }
        let folder =
            self.folder.take().map_or(Ok(()), |folder| folder.close().context("cannot remove the temporary folder"));
        left.and(stopped).and(removed).and(folder)
    }

    async fn leave(&mut self) -> anyhow::Result<()> {
        match self.muster(&["leave", "--force"]).await {
            Ok(_) => Ok(()),
            // Interrupted before `init` was through.
            Err(error) if format!("{error:#}").contains("in no cluster") => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn stop_daemon(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.daemon.take() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended by itself, and then there is nobody to tell.
            kill(Pid::from_raw(pid), Signal::SIGTERM).ok();
        }
        if tokio::time::timeout(DAEMON_STOP, child.wait()).await.is_err() {
            child.kill().await.context("cannot end the daemon")?;
            bail!("the daemon did not stop within {DAEMON_STOP:?} and was killed");
        }
        Ok(())
    }
}

/// `first` or one of the ports after it.
fn free_port(first: u16) -> Option<u16> {
    const TRIES: u16 = 200;
    (first..first.saturating_add(TRIES)).find(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}
