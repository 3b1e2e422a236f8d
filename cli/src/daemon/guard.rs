//! `muster guard`: the process that a daemon starts beside it, and that nobody needs to start by hand.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use muster_agent::{
    clock::SystemClock,
    executor::{
        Identity,
        docker::{self, Docker},
    },
    guard,
};
use muster_proto::id::{ClusterId, NodeId};

/// Stop tasks that must not run in isolation where the daemon is paused or dead; started by the daemon
#[derive(Clone, Debug, clap::Args)]
#[command(hide = true)]
pub struct Args {
    /// The agent's folder in the daemon's data folder
    #[arg(long, value_name = "DIR")]
    agent_dir: PathBuf,
    /// Socket of Docker Engine
    #[arg(long, value_name = "PATH")]
    docker_socket: PathBuf,
    /// Whose containers these are
    #[arg(long, value_name = "ID")]
    cluster: ClusterId,
    #[arg(long, value_name = "ID")]
    node: NodeId,
}

/// Until there is nothing to guard any more.
pub fn run(args: &Args) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let identity = Identity { cluster_id: args.cluster, node_id: args.node };
    runtime.block_on(async {
        let executor = Docker::connect(docker::Options { socket: args.docker_socket.clone(), identity });
        // A terminal that closes must not take it along.
        let _hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        guard::run(&args.agent_dir, Arc::new(executor), Arc::new(SystemClock)).await.context("the guard ends")
    })
}
