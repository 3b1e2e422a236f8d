//! What the demo makes, and its removal: a folder, three daemons, two images, and through the daemons their containers.

use std::{
    collections::{BTreeSet, HashMap},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bollard::{
    Docker,
    errors::Error,
    query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptions, RemoveImageOptions},
};
use tokio::task::JoinSet;

use super::{
    Args, image,
    node::{self, Node},
};

pub(super) const NODES: usize = 3;
/// The service.
pub(super) const SERVICE: &str = "web";
/// For the cluster to remove the service's containers, each within its stop grace period.
const EMPTY_MAX: Duration = Duration::from_secs(20);
/// For the engine to remove what the cluster did not.
const SWEEP_MAX: Duration = Duration::from_secs(60);
/// A container that the engine was just making appears after its daemon is gone.
const LATE_CONTAINER: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Cluster {
    docker: Docker,
    program: PathBuf,
    /// Removed when the demo ends, kept with `--keep`.
    folder: Option<tempfile::TempDir>,
    folder_path: PathBuf,
    pub(super) nodes: Vec<Node>,
    /// A repository of its own for each demo, so that two of them never share an image.
    repository: String,
    images: Vec<String>,
    /// The image that is being made.
    builds: JoinSet<anyhow::Result<String>>,
    /// By which its containers are found. No container is made before it is known.
    id: Option<String>,
    pub(super) port: u16,
}

impl Cluster {
    pub(super) async fn prepare(docker: Docker, args: &Args) -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("muster-demo-").tempdir().context("cannot make a temporary folder")?;
        let addresses: [Ipv4Addr; NODES] = node::addresses()?;
        let port = match args.port {
            Some(port) => port,
            None => node::free_port(&addresses, image::PORT)
                .context("no free port to publish the demo on; name one with --port")?,
        };
        let program = std::env::current_exe().context("cannot find the muster program itself")?;
        let node = |(number, address)| {
            Node::new(format!("node{}", number + 1), address, &program, &args.docker_socket, folder.path())
        };
        Ok(Self {
            docker,
            nodes: addresses.into_iter().enumerate().map(node).collect(),
            program,
            folder_path: folder.path().to_owned(),
            folder: Some(folder),
            repository: format!("muster-demo-{:06x}", rand::random::<u32>() & 0xff_ffff),
            images: Vec::new(),
            builds: JoinSet::new(),
            id: None,
            port,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder_path
    }

    /// The published port of a node.
    pub(super) fn target(&self, number: usize) -> SocketAddr {
        (self.nodes[number].address, self.port).into()
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

    pub(super) async fn init(&mut self) -> anyhow::Result<()> {
        self.nodes[0].muster(&["init"]).await?;
        self.id = Some(self.nodes[0].muster(&["info", "--format", "{{.Membership.ClusterID}}"]).await?);
        Ok(())
    }

    /// The number of the node that leads, by what another says.
    pub(super) async fn leader(&self, ask: usize) -> anyhow::Result<usize> {
        let shown = self.nodes[ask].muster(&["node", "ls", "--format", "{{.Address}} {{.ManagerStatus}}"]).await?;
        let leader = shown.lines().find_map(|line| line.strip_suffix(" Leader")).context("no node leads")?;
        let found = self.nodes.iter().position(|node| node.listens().to_string() == leader);
        found.with_context(|| format!("a leader at {leader}, which is no node of the demo"))
    }

    /// Ids of its containers in the engine: those that run, or all.
    pub(super) async fn containers(&self, which: Which) -> anyhow::Result<BTreeSet<String>> {
        let Some(id) = &self.id else { return Ok(BTreeSet::new()) };
        let filters = HashMap::from([("label".to_owned(), vec![format!("muster.cluster={id}")])]);
        let options = ListContainersOptionsBuilder::new().all(which == Which::All).filters(&filters).build();
        let found = self.docker.list_containers(Some(options)).await.context("the engine lists no containers")?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }

    /// Leaves everything as it is and says how to use and how to end it.
    pub(super) fn keep(mut self) {
        let folder = self.folder.take().map_or_else(|| self.folder_path.clone(), tempfile::TempDir::keep);
        let muster = self.program.display();
        say!("\nthe cluster keeps running; any of its nodes takes any command:\n");
        for node in &self.nodes {
            say!("  export MUSTER_HOST={}    # {}, at {}", node.host(), node.name, node.listens());
        }
        say!("\n  {muster} node ls");
        say!("  {muster} service ps {SERVICE}");
        for number in 0..self.nodes.len() {
            say!("  curl {}", self.target(number));
        }
        let pids: Vec<String> = self.nodes.iter().filter_map(Node::pid).map(|pid| pid.to_string()).collect();
        say!("\nand end it with\n");
        say!("  kill -9 {}", pids.join(" "));
        let id = self.id.as_deref().unwrap_or_default();
        say!(
            "  docker ps --all --quiet --filter label=muster.cluster={id} | xargs --no-run-if-empty docker rm --force"
        );
        say!("  docker rmi {} && rm -r {}", self.images.join(" "), folder.display());
    }

    /// Removes all that was made, in the reverse order. Goes on past a failure and reports the first.
    pub(super) async fn remove(mut self) -> anyhow::Result<()> {
        // What the cluster cannot remove (it is half made, or has no leader) is removed from the engine below.
        drop(tokio::time::timeout(EMPTY_MAX, self.empty()).await);
        let mut outcome = Ok(());
        for node in &mut self.nodes {
            // At once and without a word to the others: the state of this cluster is not needed any more.
            outcome = outcome.and(node.kill().await);
        }
        while self.builds.join_next().await.is_some() {}
        outcome = outcome.and(self.sweep().await);
        for reference in std::mem::take(&mut self.images) {
            let options = RemoveImageOptions { force: true, ..RemoveImageOptions::default() };
            match self.docker.remove_image(&reference, Some(options), None).await {
                // Interrupted before it was made.
                Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
                Err(error) => {
                    outcome = outcome.and(Err(error).with_context(|| format!("cannot remove the image {reference}")));
                }
            }
        }
        let folder =
            self.folder.take().map_or(Ok(()), |folder| folder.close().context("cannot remove the temporary folder"));
        outcome.and(folder)
    }

    /// By the way a user would take, so that no daemon starts again what is removed.
    async fn empty(&self) -> anyhow::Result<()> {
        if self.id.is_none() {
            return Ok(());
        }
        let node = self.nodes.iter().find(|node| node.pid().is_some()).context("no node runs")?;
        node.muster(&["service", "rm", SERVICE]).await?;
        // One that is down confirms nothing.
        let all_run = self.nodes.iter().all(|node| node.pid().is_some());
        while all_run && !self.containers(Which::All).await?.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Removes its containers by their ids until none has been seen twice in a row.
    async fn sweep(&self) -> anyhow::Result<()> {
        if self.id.is_none() {
            return Ok(());
        }
        let began = Instant::now();
        let mut was_empty = false;
        loop {
            let left = self.containers(Which::All).await?;
            if left.is_empty() && was_empty {
                return Ok(());
            }
            if began.elapsed() > SWEEP_MAX {
                bail!("the engine still has containers of the demo: {}", Vec::from_iter(left).join(" "));
            }
            was_empty = left.is_empty();
            for id in left {
                let options = RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() };
                // One that cannot be removed is there at the next look.
                drop(self.docker.remove_container(&id, Some(options)).await);
            }
            tokio::time::sleep(LATE_CONTAINER).await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Running,
    All,
}
