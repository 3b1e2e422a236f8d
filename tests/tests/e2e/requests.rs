//! No request dropped on three nodes, whichever of them is asked: in an update of either order, a drain, a rebalance,
//! scaling down and a rollback; and none by a connection that rests meanwhile.

use std::net::SocketAddr;

use muster_cli::demo::load::{self, Client, Connections, Load, Tally};
use muster_tests::{
    cluster::Cluster,
    daemon::{Engine, free_port},
    engine::{self, Images},
    wait,
};
use tokio::runtime::Runtime;

use crate::MUSTER;

/// To each node.
const REQUESTS_MIN: u64 = 3_400;
const CLIENTS: usize = 3;

/// A service of three replicas, which answers at every node.
struct Web {
    // Dropped in this order.
    cluster: Cluster,
    images: Images,
    targets: Vec<SocketAddr>,
    runtime: Runtime,
}

impl Web {
    fn start() -> Self {
        let images = Images::make(&["1.0.0", "2.0.0"]);
        let cluster = Cluster::local(MUSTER, &Engine::Docker, 3, 0);
        cluster.wait_ready(0);
        let port = free_port();
        let publish = format!("{port}:8000");
        let mut create = vec!["service", "create", "--quiet", "--name", "web", "--replicas", "3", "-p", &publish];
        create.extend(["--health-http", "8000/healthz", "--update-monitor", "100ms", "--rollback-monitor", "100ms"]);
        let first = images.name("1.0.0");
        create.push(&first);
        cluster[0].ok(&create);
        let targets: Vec<SocketAddr> = cluster.nodes().iter().map(|node| (node.address().ip(), port).into()).collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        for target in &targets {
            wait::until("every node's port to answer", || runtime.block_on(load::get(*target)));
        }
        Self { cluster, images, targets, runtime }
    }

    /// Runs `work` under load on every node's port and returns once enough requests were sent to each.
    fn under_load(&self, work: impl FnOnce()) -> Vec<Tally> {
        let start = async { self.targets.iter().map(|target| Load::start(*target, CLIENTS)).collect() };
        let loads: Vec<Load> = self.runtime.block_on(start);
        work();
        wait::until("enough requests", || {
            let tallies: Vec<Tally> = loads.iter().map(Load::tally).collect();
            let enough = tallies.iter().all(|tally| tally.requests >= REQUESTS_MIN);
            let failed = tallies.iter().any(|tally| tally.failed > 0);
            if enough || failed { Ok(()) } else { Err(tallies.iter().map(|tally| tally.requests).collect::<Vec<_>>()) }
        });
        loads.into_iter().map(|load| self.runtime.block_on(load.finish())).collect()
    }

    /// None failed at any node, and both versions answered through each.
    fn check(&self, tallies: &[Tally], of_each: usize) {
        for (target, tally) in self.targets.iter().zip(tallies) {
            assert_eq!(tally.failed, 0, "through {target}: {tally:#?}");
            let versions = |version: &str| tally.answers.keys().filter(|body| body.starts_with(version)).count();
            let (first, second) = (versions("version 1.0.0 "), versions("version 2.0.0 "));
            assert!(first >= of_each && second >= of_each, "through {target}: {tally:#?}");
        }
    }
}

#[test]
fn ten_thousand_requests_to_three_nodes_and_none_failed() {
    let Some(()) = engine::present("ten_thousand_requests_to_three_nodes") else { return };
    let web = Web::start();
    let cluster = &web.cluster;
    let drained = cluster[1].node_id();
    let tallies = web.under_load(|| {
        cluster[0].ok(&["service", "update", "--quiet", "--image", &web.images.name("2.0.0"), "web"]);
        cluster[2].ok(&["node", "update", "--availability", "drain", "--wait", &drained]);
        let left = cluster[0].ok(&["node", "ps", "--filter", "desired-state=running", "-q", &drained]);
        assert_eq!(left, "", "a drain that was waited for leaves nothing");
        cluster[2].ok(&["node", "update", "--availability", "active", &drained]);
        // Now, while the node has none of three: after a rollback or scaling there is nothing to gain.
        let moved = cluster[1].run(&["rebalance"]);
        assert!(moved.status.success() && moved.stderr.contains("1 of 1 task moved"), "{moved:#?}");
        // Before it scales: a rollback after that would undo the scaling, and not the version.
        cluster[0].ok(&["service", "rollback", "--quiet", "web"]);
        cluster[1].ok(&["service", "scale", "web=5"]);
        cluster[2].ok(&["service", "scale", "web=2"]);
    });
    web.check(&tallies, 3);
}

/// A client at each node that sends nothing for longer than it takes to drain every task there was, and then goes on
/// over the same connection.
struct Resting<'a> {
    web: &'a Web,
    clients: Vec<Client>,
}

impl<'a> Resting<'a> {
    fn connect(web: &'a Web) -> Self {
        let clients = web.targets.iter().map(|target| Client::new(*target, Connections::Kept)).collect();
        let mut resting = Self { web, clients };
        resting.wake(3, "version 1.0.0 ");
        resting
    }

    /// Once nothing runs but what is wanted.
    fn wake(&mut self, replicas: usize, version: &str) {
        let cluster = self.web.cluster[0].cluster_id();
        wait::until("former tasks to be gone", || {
            let running = engine::containers(&cluster).into_iter().filter(|container| container.state == "running");
            let running = running.count();
            if running == replicas { Ok(()) } else { Err(running) }
        });
        for client in &mut self.clients {
            let answer = self.web.runtime.block_on(client.get()).expect("an answer over the connection that rested");
            assert!(answer.starts_with(version), "{answer}");
        }
    }
}

#[test]
fn no_request_fails_stop_first_scaled_to_one_and_back_or_after_a_rest() {
    let Some(()) = engine::present("no_request_fails_stop_first") else { return };
    let web = Web::start();
    let cluster = &web.cluster;
    let mut resting = Resting::connect(&web);
    let second = web.images.name("2.0.0");
    let tallies = web.under_load(|| {
        let stop_first = ["--update-order", "stop-first", "--update-parallelism", "1"];
        cluster[0].ok(&[&["service", "update", "--quiet", "--image", &second], &stop_first[..], &["web"]].concat());
        resting.wake(3, "version 2.0.0 ");
        cluster[1].ok(&["service", "rollback", "--quiet", "web"]);
        resting.wake(3, "version 1.0.0 ");
        cluster[1].ok(&["service", "scale", "web=1"]);
        resting.wake(1, "version 1.0.0 ");
        cluster[2].ok(&["service", "scale", "web=4"]);
        resting.wake(4, "version 1.0.0 ");
    });
    web.check(&tallies, 3);
}
