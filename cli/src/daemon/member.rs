//! The parts that run while this host is in a cluster: manager, agent, and the port where agents connect.
//!
//! Start order is manager, port, agent; stop order is the reverse. A part that ends by itself is the daemon's end: the
//! host is not left with half of what it should run.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use muster_agent::{Agent, executor::Identity};
use muster_manager::{self as manager, Manager, Outside, ca::Credentials, raft::alone::Alone};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};

use super::{
    args::Args, data_dir::DataDir, dial::MutualTls, engine, gate::Gate, preflight::LocalHost, record, record::Record,
};

/// A peer that stopped answering is noticed after one of these and its timeout.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a part may take to stop before it is left to end with the process.
const STOP_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Part {
    name: &'static str,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) record: Record,
    pub(super) agent: muster_agent::Handle,
    pub(super) manager: muster_manager::Handle,
    /// In the order they were started.
    parts: Vec<Part>,
}

/// What a member is started with.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) args: &'a Args,
    pub(super) data_dir: &'a DataDir,
    pub(super) gate: &'a Gate,
    /// Hears of a part that ended by itself.
    pub(super) failures: mpsc::Sender<anyhow::Error>,
    /// Bound before anything is written, so that a port in use leaves nothing behind.
    pub(super) listener: TcpListener,
}

pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; end what uses it, or name another with `muster daemon --listen-addr`")
    })
}

impl Member {
    pub(super) async fn start(start: Start<'_>, record: Record, begin: manager::Start) -> anyhow::Result<Self> {
        let credentials = record::read_credentials(&start.data_dir.member())?;
        let identity = Identity { cluster_id: record.cluster_id, node_id: record.node_id };
        let executor = engine::choose(start.args, identity);
        let preflight = Arc::new(LocalHost::new(Arc::clone(&executor)));
        let outside = Outside::of_host(Arc::new(Alone));
        let config = manager_config(&record, start.data_dir, Arc::clone(&preflight))?;
        let manager = Manager::open(config, outside, begin).await?;
        let agent = Agent::open(muster_agent::Config {
            identity,
            data_dir: start.data_dir.agent(),
            managers: vec![record.advertise_addr.clone()],
            dial: Arc::new(MutualTls::new(&credentials)?),
            executor,
            ingress_ip: start.args.ingress_ip(),
            hostname: hostname(),
            muster_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
        .await?;
        let handles = (agent.handle(), manager.handle());
        preflight.attach(handles.0.ingress());

        // Before anything runs: a part that was begun would outlive a failure here.
        let port = serve_port(&credentials, &handles.1, start.listener)?;
        let mut member = Self { record, agent: handles.0, manager: handles.1, parts: Vec::new() };
        member.run("manager", &start.failures, |shutdown| async move { Ok(manager.run(shutdown).await?) });
        member.run("port", &start.failures, port);
        member.run("agent", &start.failures, |shutdown| async move { Ok(agent.run(shutdown).await?) });
        start.gate.open(tower::util::BoxCloneSyncService::new(member.manager.control()));
        tracing::info!(cluster = %member.record.cluster_id, node = %member.record.node_id, "in the cluster");
        Ok(member)
    }

    fn run<F>(
        &mut self,
        name: &'static str,
        failures: &mpsc::Sender<anyhow::Error>,
        part: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let (work, told, failures) = (part(shutdown.clone()), shutdown.clone(), failures.clone());
        let task = tokio::spawn(async move {
            let failure = match work.await {
                Err(error) => error,
                Ok(()) if told.is_cancelled() => return,
                Ok(()) => anyhow!("the {name} ended by itself"),
            };
            tracing::error!("the {name} failed: {failure:#}");
            // The daemon may be stopping already, and then nobody needs to hear of it.
            drop(failures.send(failure).await);
        });
        self.parts.push(Part { name, shutdown, task });
    }

    /// Containers keep running.
    pub(super) async fn stop(mut self, gate: &Gate) {
        gate.close();
        while let Some(part) = self.parts.pop() {
            part.shutdown.cancel();
            if tokio::time::timeout(STOP_GRACE, part.task).await.is_err() {
                tracing::warn!("the {} did not stop within {STOP_GRACE:?}", part.name);
            }
        }
    }
}

fn manager_config(
    record: &Record,
    data_dir: &DataDir,
    preflight: Arc<LocalHost>,
) -> anyhow::Result<muster_manager::Config> {
    Ok(muster_manager::Config {
        data_dir: data_dir.path().to_owned(),
        cluster_id: record.cluster_id,
        node_id: record.node_id,
        raft_id: record.raft_id,
        advertise_addr: record.advertise_addr.clone(),
        cluster_key: record::read_cluster_key(&data_dir.member())?,
        preflight,
    })
}

/// The port where agents connect. Nobody gets in without a certificate of this cluster.
fn serve_port(
    credentials: &Credentials,
    manager: &muster_manager::Handle,
    listener: TcpListener,
) -> anyhow::Result<
    impl FnOnce(CancellationToken) -> futures_util::future::BoxFuture<'static, anyhow::Result<()>> + use<>,
> {
    let router = Server::builder()
        .tls_config(credentials.server_tls())
        .context("the node's certificate cannot be used; restore the data folder's `member` folder from a copy")?
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(manager.dispatcher());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(move |shutdown: CancellationToken| {
        let served = router.serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned());
        let future: futures_util::future::BoxFuture<'static, anyhow::Result<()>> =
            Box::pin(async move { served.await.context("cannot serve the port for agents") });
        future
    })
}

pub(super) fn hostname() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_else(|_| "localhost".to_owned())
}

/// Everything of a membership that is on disk.
pub(super) fn erase(data_dir: &DataDir) -> anyhow::Result<()> {
    // The record goes last: as long as it is there, an interrupted erasure is seen and finished.
    let remove = |folder: &Path| match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    };
    [data_dir.manager(), data_dir.agent(), data_dir.member()].iter().try_for_each(|folder| remove(folder))
}
