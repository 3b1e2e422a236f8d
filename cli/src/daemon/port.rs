//! The one port where other nodes reach this one. What a connection is for is agreed on in its TLS handshake: calls to
//! the manager's services, or the bytes of one client of an ingress on their way to a task here.
//!
//! Whoever connects is a stranger until it has shown a certificate that counts, and strangers have few places, little
//! time and nobody's rights (`lobby`). Members are kept by node, so that one that is removed is cut off at once
//! (`connections`). Every call passes the [`Authorize`]. Bytes that are no handshake end their connection, and are told of
//! in the log once a minute at the most. Called by the daemon's member; deliberately does not know what is served.

mod connection;
mod connections;
mod lobby;
pub(in crate::daemon) mod probe;
mod refusals;
mod secure;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use muster_agent::dial::Stream;
use muster_manager::{
    authorization::{Authorize, Roll},
    ca::{Keeper, Presented},
    clock::{Clock, WallClock},
};
use muster_proto::id::NodeId;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::Layer;

use connections::{Connections, Purpose};
use lobby::Lobby;
use refusals::Refusals;

use super::gate::Inner;

/// How long open calls may take to end when the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Out of descriptors, or a connection that was gone at once: neither is cured by trying again on the spot.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at who is still a member; the first look after a quiet time is at once.
const REVIEW_PAUSE: Duration = Duration::from_millis(100);

/// Where a connection goes that another node's agent passes on.
pub(super) type Relay = Arc<dyn Fn(NodeId, Stream) + Send + Sync>;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) keeper: Keeper,
    /// Whom this host knows as members.
    pub(super) roll: Arc<dyn Roll>,
    /// Everything that is called over gRPC here.
    pub(super) services: Inner,
    pub(super) relay: Relay,
}

impl fmt::Debug for Options {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Options").field("keeper", &self.keeper).field("roll", &self.roll).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Port {
    options: Options,
    listener: TcpListener,
}

/// What every connection's task shares.
struct Shared {
    options: Options,
    /// The services behind the table of who may call what.
    authorized: Inner,
    lobby: Lobby,
    calls: Connections,
    relays: Connections,
    refusals: Mutex<Refusals>,
    shutdown: CancellationToken,
}

impl Port {
    pub(super) fn new(options: Options, listener: TcpListener) -> Self {
        Self { options, listener }
    }

    /// Until `shutdown`; open calls may end then, for a while.
    pub(super) async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self { options, listener } = self;
        let authorize = Authorize::at_port(Arc::clone(&options.roll), Arc::new(WallClock));
        let authorized = authorize.layer(options.services.clone());
        let shared = Arc::new(Shared {
            authorized: Inner::new(authorized),
            options,
            lobby: Lobby::default(),
            calls: Connections::new(Purpose::Calls),
            relays: Connections::new(Purpose::Relays),
            refusals: Mutex::default(),
            shutdown: shutdown.clone(),
        });
        let mut tasks = JoinSet::new();
        let of_nodes = [shared.calls.clone(), shared.relays.clone()];
        // A client on its way to a published port may end what it began, whatever becomes of the root.
        let reviews = [
            tokio::spawn(review(of_nodes, Arc::clone(&shared.options.roll))),
            tokio::spawn(recheck(shared.calls.clone(), shared.options.keeper.clone())),
        ];
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_ended) = tasks.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        tasks.spawn(serve(Arc::clone(&shared), stream, from));
                    }
                    Err(error) => {
                        shared.refused(&format!("this host cannot take connections: {error}"));
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(STOP_GRACE, ended).await.is_err() {
            tasks.shutdown().await;
        }
        for reviews in reviews {
            reviews.abort();
            drop(reviews.await);
        }
        Ok(())
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, from: SocketAddr) {
    if let Err(why) = secure::serve(&shared, stream, from).await {
        shared.refused(&format!("the one from {} {why}", from.ip()));
    }
}

impl Shared {
    fn refused(&self, why: &str) {
        tracing::debug!("a connection came to nothing: {why}");
        let due = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).count(Instant::now());
        if let Some(count) = due {
            tracing::info!(count, "connections to this node's port came to nothing; lately {why}");
        }
    }
}

/// Cuts off whoever is no member any more, as soon as this host knows.
async fn review(of_nodes: [Connections; 2], roll: Arc<dyn Roll>) {
    loop {
        // First listen, then look: nothing falls in between.
        let changed = roll.changed();
        of_nodes.iter().for_each(|connections| connections.review(&*roll));
        changed.await;
        of_nodes.iter().for_each(|connections| connections.review(&*roll));
        sleep(REVIEW_PAUSE).await;
    }
}

/// Cuts off whoever has shown a certificate of a root that is trusted no more.
async fn recheck(connections: Connections, keeper: Keeper) {
    let mut roots = keeper.roots();
    loop {
        keeper.other_roots(&roots).await;
        roots = keeper.roots();
        let (connections, keeper) = (connections.clone(), keeper.clone());
        let checked = tokio::task::spawn_blocking(move || {
            connections
                .recheck(|shown| !matches!(keeper.presented(Some(shown), WallClock.now()), Presented::Worthless(_)));
        });
        drop(checked.await);
    }
}

/// Why a connection came to nothing, as the rest of a sentence about it.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("did not finish its handshake in time")]
    Slow,
    #[error("gave its place to another while it had shown no certificate")]
    Crowded,
    #[error("is no node's: {0}")]
    Handshake(#[source] io::Error),
    #[error("asked for nothing that is spoken here")]
    Protocol,
    #[error("was to be passed on and may not: {0}")]
    Relay(#[source] muster_manager::authorization::Denied),
    #[error("was opened while this node exchanged the roots that it trusts; it is tried again by itself")]
    Roots,
    #[error("is one too many of node {0}")]
    TooMany(NodeId),
}
