//! `muster demo`: the main job on this machine, from nothing and back to nothing.
//!
//! It runs the same binary as a stranger would, as child processes: three daemons at loopback addresses of this machine,
//! in a temporary folder, then the commands. Whatever happens, Ctrl-C included, what it made is removed again by the ids it noted.

/// As `println!`, for a reader who may have gone (`muster demo | head`): the demo still has to clear up.
macro_rules! say {
    ($($text:tt)*) => {
        drop(std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($text)*))))
    };
}

mod clients;
mod cluster;
pub mod image;
mod leader;
pub mod load;
mod node;
mod script;
mod steps;
mod writer;

use std::path::PathBuf;

use anyhow::{Context, bail};
use bollard::Docker;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    error::Error,
    flags::{self, whole},
};
use cluster::Cluster;

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  muster demo                          everything below, in about half a minute
  muster demo --keep                   the same, and leave the cluster running to play with
  muster demo --image myapp:1.0.0 --image myapp:2.0.0
                                       only make images of the demo app, to follow the README by hand

The demo starts three daemons at loopback addresses of this machine, in a temporary folder, and forms a cluster of them:
three managers that also run services. It makes its own image (no registry, no network), creates a service with 3
replicas and a published port, sends requests to that port of every node, scales it to 5 and updates it to a second
version under continuous requests. Then it kills the leader's daemon, prints how long no write was accepted, and starts
it again, with the same containers. It needs Docker Engine. It exits with 1 if one request failed, but for those in
flight through the node that died.")]
pub struct Args {
    /// Leave the cluster running, and say how to talk to it and how to end it
    #[arg(long)]
    keep: bool,

    /// Only make an image of the demo app with this name; its tag is the version it answers with (repeatable)
    #[arg(long = "image", value_name = "NAME:TAG")]
    images: Vec<String>,

    /// Port to publish the service on [default: 8000, or the next that is free]
    #[arg(long, value_name = "PORT", value_parser = whole(1..=u16::MAX))]
    port: Option<u16>,

    /// Socket of Docker Engine
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock")]
    docker_socket: PathBuf,
}

impl Args {
    pub fn check(&self) -> Result<(), Error> {
        flags::apart(("--keep", self.keep), &[("--image", !self.images.is_empty())])
    }
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let docker = connect(&args.docker_socket).await?;
    if !args.images.is_empty() {
        return make_images(&docker, &args.images).await;
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut cluster = Cluster::prepare(docker, &args).await?;
    let outcome = tokio::select! {
        outcome = script::run(&mut cluster) => outcome,
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("told to stop")),
        _ = hang_up.recv() => Err(anyhow::anyhow!("the terminal was closed")),
    };
    if args.keep && outcome.is_ok() {
        cluster.keep();
        return Ok(());
    }
    say!("\ncleaning up: containers, daemons, images, {}", cluster.folder().display());
    let cleaned = cluster.remove().await;
    outcome.and(cleaned)
}

async fn connect(socket: &std::path::Path) -> anyhow::Result<Docker> {
    let wanted = "the demo runs real containers and needs Docker Engine";
    let docker = image::connect(socket)
        .with_context(|| format!("{wanted}; install it, or name its socket with --docker-socket"))?;
    match docker.ping().await {
        Ok(_) => Ok(docker),
        Err(error) => bail!(
            "{wanted}, which does not answer at {} ({error}); start it, run as a user who may use it, or name its socket \
             with --docker-socket",
            socket.display()
        ),
    }
}

async fn make_images(docker: &Docker, references: &[String]) -> anyhow::Result<()> {
    for reference in references {
        let id = image::build(docker, reference).await?;
        say!("{reference}  {id}");
    }
    Ok(())
}
