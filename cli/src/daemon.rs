//! `muster daemon`: what runs on every host. It opens the data folder, serves the local socket, and, once the host is
//! in a cluster, runs an agent and (by its role) a manager.
//!
//! This is wiring: which parts exist, in what order they start and stop, and where their files are. What the parts do
//! is theirs.

mod advertise;
mod args;
mod data_dir;
mod dial;
mod doors;
mod engine;
mod gate;
pub mod guard;
mod host;
mod join;
mod leave;
mod local;
mod logging;
mod managers;
mod member;
mod membership;
mod part;
mod port;
mod preflight;
mod record;
mod recover;
mod relayed;
mod restore;
mod socket;
mod tend;
mod whereabouts;

use std::{sync::Arc, time::SystemTime};

use anyhow::Context;
use muster_manager::authorization::Authorize;
use muster_proto::{time::Timestamp, v1::local_server::LocalServer};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Server;

pub use args::Args;
use host::Host;

/// Runs until SIGTERM or SIGINT, or until a part fails that the daemon cannot be without. Containers keep running
/// either way.
pub fn run(args: Args) -> anyhow::Result<()> {
    logging::init(&args)?;
    raise_open_files();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let outcome = runtime.block_on(serve(args));
    // Blocking work that is still under way (a flush, a name look-up) must not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}

/// Each connection through the ingress takes two descriptors, and the usual soft limit of 1,024 is for programs that
/// use `select`.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!("cannot raise the limit on open files: {error}"),
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let listener = socket::bind(&args.socket)?;
    let host = tokio::select! {
        opened = Host::open(args) => Arc::new(opened?),
        // An engine or a disk that does not answer must not keep the daemon from stopping; what was begun is found at
        // the next start.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let changes = TaskTracker::new();
    let commands = local::Service::new(Arc::clone(&host), changes.clone(), shutdown.clone());
    let local = tokio::spawn(
        Server::builder()
            .layer(Authorize::at_socket())
            .add_service(LocalServer::new(commands))
            .add_service(host.gate())
            .serve_with_incoming_shutdown(listener.incoming()?, shutdown.clone().cancelled_owned()),
    );
    let tending = CancellationToken::new();
    let tended = tokio::spawn(tend::run(Arc::clone(&host), tending.clone()));
    tracing::info!(socket = %listener.path().display(), "ready");

    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        failure = host.failed() => Err(failure),
    };
    tracing::info!("stopping; containers keep running");
    // What it waits for may never come, and what it holds is needed to stop well.
    tending.cancel();
    let stopped = host.stop().await;
    // Before anybody who waits to change the membership gets his turn.
    shutdown.cancel();
    drop(stopped);
    changes.close();
    changes.wait().await;
    tended.await.context("the task that keeps the node's certificate broke off")?;
    // A client that watches a service would keep the graceful stop waiting for ever.
    if tokio::time::timeout(socket::CLOSE_GRACE, local).await.is_err() {
        tracing::debug!("closed the local socket on clients that were still connected");
    }
    outcome
}

/// This host's wall clock.
fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::EPOCH + since_epoch
}
