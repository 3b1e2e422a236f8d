//! How long new connections are sent to a node that is dead, seen by clients at another node.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use muster_cli::demo::load::{Client, Connections};
use muster_proto::v1;
use muster_tests::host_engine::HostEngine;
use tokio::task::JoinSet;

use super::{Field, HOSTS, POLL, PORT};
use crate::api;

const CLIENTS: usize = 8;
/// A dial that is lost is given up after 1.3 s, and another node tried; no other request takes as long.
const LOST: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);
/// After the node is known as down: far longer than any of it takes.
const AFTER: Duration = Duration::from_secs(5);

impl Field {
    /// A worker's host loses its power. Seconds from the moment that a manager knows to the beginning of the last request
    /// that was sent there; less than nothing where that was before. None: of those that were sent there, none was lost.
    pub(super) fn news(&mut self) -> anyhow::Result<Option<f64>> {
        let (lost, asked) = (HOSTS - 1, HOSTS - 2);
        self.check_runs_something(lost, self.cluster.leader())?;
        let target = SocketAddr::from((self.hosts.address(asked), PORT));
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients: JoinSet<Option<Instant>> = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn_on(last_lost(target, stop.clone()), self.runtime.handle());
        }
        self.hosts.power_off(lost);
        let node = self.cluster[lost].node_id();
        let known = self.known_as_down(&node)?;
        thread::sleep(AFTER);
        stop.store(true, Ordering::SeqCst);
        let last = self.runtime.block_on(clients.join_all()).into_iter().flatten().max();
        self.power_on(lost);
        let after_known = |last: Instant| match last.checked_duration_since(known) {
            Some(later) => later.as_secs_f64(),
            None => -(known - last).as_secs_f64(),
        };
        Ok(last.map(after_known))
    }

    fn known_as_down(&self, node: &str) -> anyhow::Result<Instant> {
        self.runtime.block_on(async {
            let mut control = api::connect(&self.cluster[self.cluster.leader()]).await?;
            loop {
                let nodes = control.list_nodes(v1::ListNodesRequest {}).await?.into_inner().nodes;
                if nodes.iter().any(|known| known.id == node && known.state() == v1::NodeState::Down) {
                    return Ok(Instant::now());
                }
                tokio::time::sleep(POLL).await;
            }
        })
    }

    /// The host is back, and its node is ready.
    pub(super) fn power_on(&mut self, host: usize) {
        // What is left of its processes is waited for.
        self.cluster[host].kill();
        self.engines[host] = None;
        self.hosts.heal(host);
        self.engines[host] = Some(HostEngine::start(&self.hosts, host));
        self.cluster[host].restart();
        self.cluster.wait_ready(0);
    }
}

/// One request after the other, each on a connection of its own: when the last began that took as long as one that was
/// sent to a dead node.
async fn last_lost(target: SocketAddr, stop: Arc<AtomicBool>) -> Option<Instant> {
    let mut client = Client::new(target, Connections::OneEach);
    let mut last = None;
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        if client.get().await.is_err() || began.elapsed() > LOST {
            last = Some(began);
        }
        tokio::time::sleep(PAUSE).await;
    }
    last
}
