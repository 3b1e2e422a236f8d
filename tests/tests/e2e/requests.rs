//! No request dropped on three nodes, whichever of them is asked: in an update, a drain, a rebalance, a
//! scale-down and a rollback.

use std::net::SocketAddr;

use muster_cli::demo::load::{self, Load, Tally};
use muster_tests::{
    cluster::Cluster,
    daemon::{Engine, free_port},
    engine::{self, Images},
    wait,
};

use crate::MUSTER;

/// To each node.
const REQUESTS_MIN: u64 = 3_400;
const CLIENTS: usize = 3;

/// Runs `work` under load on every node's port and returns once enough requests were sent to each.
fn under_load(targets: &[SocketAddr], work: impl FnOnce()) -> Vec<Tally> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let loads: Vec<Load> =
        runtime.block_on(async { targets.iter().map(|target| Load::start(*target, CLIENTS)).collect() });
    work();
    wait::until("enough requests", || {
        let tallies: Vec<Tally> = loads.iter().map(Load::tally).collect();
        let enough = tallies.iter().all(|tally| tally.requests >= REQUESTS_MIN);
        let failed = tallies.iter().any(|tally| tally.failed > 0);
        if enough || failed { Ok(()) } else { Err(tallies.iter().map(|tally| tally.requests).collect::<Vec<_>>()) }
    });
    loads.into_iter().map(|load| runtime.block_on(load.finish())).collect()
}

#[test]
fn ten_thousand_requests_to_three_nodes_and_none_failed() {
    let Some(()) = engine::present("ten_thousand_requests_to_three_nodes") else { return };
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
    for target in &targets {
        wait::until("every node's port to answer", || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(load::get(*target))
        });
    }

    let drained = cluster[1].node_id();
    let tallies = under_load(&targets, || {
        cluster[0].ok(&["service", "update", "--quiet", "--image", &images.name("2.0.0"), "web"]);
        cluster[2].ok(&["node", "update", "--availability", "drain", "--wait", &drained]);
        let left = cluster[0].ok(&["node", "ps", "--filter", "desired-state=running", "-q", &drained]);
        assert_eq!(left, "", "a drain that was waited for leaves nothing");
        cluster[1].ok(&["service", "scale", "web=5"]);
        cluster[2].ok(&["node", "update", "--availability", "active", &drained]);
        cluster[1].ok(&["rebalance"]);
        let back = cluster[0].ok(&["node", "ps", "--filter", "desired-state=running", "-q", &drained]);
        assert_eq!(back.lines().count(), 1, "five tasks on three nodes: {back}");
        cluster[2].ok(&["service", "scale", "web=2"]);
        cluster[0].ok(&["service", "rollback", "--quiet", "web"]);
    });
    for (target, tally) in targets.iter().zip(&tallies) {
        assert_eq!(tally.failed, 0, "through {target}: {tally:#?}");
        let versions = |version: &str| tally.answers.keys().filter(|body| body.starts_with(version)).count();
        assert!(versions("version 1.0.0") >= 3 && versions("version 2.0.0") >= 3, "through {target}: {tally:#?}");
    }
}
