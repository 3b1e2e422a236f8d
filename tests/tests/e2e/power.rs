//! A worker's host loses its power under load through the other nodes: nothing fails but what was sent to it, and
//! nothing at all once it is known as down.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use muster_chaos::hosts::{self, Hosts};
use muster_cli::demo::load::{self, Connections, Load, Tally};
use muster_tests::{
    cluster::Cluster,
    daemon::{Daemon, Engine, Place},
    engine::Images,
    host_engine::HostEngine,
    private_engine, wait,
};
use tokio::runtime::Runtime;

use crate::MUSTER;

const HOSTS: usize = 3;
/// The one that loses its power; the others are asked.
const LOST: usize = 2;
const PORT: u16 = 8000;
/// Of each kind at each node that is asked.
const CLIENTS: usize = 3;
const KEPT_TURNS: usize = 10;
/// Of each client, before the power goes and once more after the node is known as down.
const REQUESTS_MIN: u64 = 100;
/// From "it is known" to "nobody is sent there": the list's way to the other nodes.
const NEWS: Duration = Duration::from_secs(1);
/// Of a request on a loaded machine; one that was first sent to a dead host takes more than a second.
const ANSWER_MAX: Duration = Duration::from_secs(1);

struct Field {
    // Dropped in this order: daemons, engines, hosts.
    cluster: Cluster,
    engines: Vec<HostEngine>,
    hosts: Hosts,
    _images: Images,
    runtime: Runtime,
}

impl Field {
    /// A replica on each host, which answers through those that are asked.
    fn make() -> Self {
        let images = Images::make(&["1.0.0"]);
        let image = images.name("1.0.0");
        let hosts = Hosts::make(HOSTS);
        let (mut engines, mut nodes) = (Vec::new(), Vec::new());
        for host in 0..HOSTS {
            let engine = HostEngine::start(&hosts, host);
            engine.load(&image);
            nodes.push(Daemon::start_at(MUSTER, Engine::DockerAt(engine.socket()), Place::host(&hosts, host)));
            engines.push(engine);
        }
        let cluster = Cluster::form(nodes, 1);
        cluster.wait_ready(0);
        let publish = format!("{PORT}:8000");
        let create = ["service", "create", "--quiet", "--name", "web", "--replicas", "3", "-p", &publish];
        cluster[0].ok(&[&create[..], &["--health-http", "8000/healthz", &image]].concat());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let field = Self { cluster, engines, hosts, _images: images, runtime };
        assert_eq!(field.running(LOST), 1, "a replica on each host");
        for target in field.asked() {
            let mut answers = BTreeSet::new();
            wait::until("every replica to be known at every node", || {
                answers.insert(field.runtime.block_on(load::get(target)).map_err(|why| why.to_string())?);
                if answers.len() == HOSTS { Ok(()) } else { Err(format!("{answers:?}")) }
            });
        }
        field
    }

    fn running(&self, host: usize) -> usize {
        let node = self.cluster[host].node_id();
        self.cluster[0].ok(&["node", "ps", "--filter", "desired-state=running", "-q", &node]).lines().count()
    }

    fn asked(&self) -> Vec<SocketAddr> {
        let others = (0..HOSTS).filter(|host| *host != LOST);
        others.map(|host| (self.hosts.address(host), PORT).into()).collect()
    }

    /// What was seen, once every request under way has ended: one that hangs is a failure only then.
    fn finish(&self, loads: Vec<Load>) -> Vec<Tally> {
        loads.into_iter().map(|load| self.runtime.block_on(load.finish())).collect()
    }

    /// A load for each client: so its tally tells which replicas that one came to.
    fn load(&self, kind: Connections) -> Vec<Load> {
        let targets = self.asked().into_iter().flat_map(|target| [target; CLIENTS]);
        self.runtime.block_on(async { targets.map(|target| Load::of(target, [kind])).collect() })
    }

    /// As many as it takes to have one through to each replica: which one each leads to is not the client's to say.
    fn kept_to_each(&self) -> Vec<Load> {
        let mut kept = Vec::new();
        for _ in 0..KEPT_TURNS {
            kept.extend(self.load(Connections::Kept));
            wait_requests(&kept.iter().collect::<Vec<_>>());
            let tallies: Vec<Tally> = kept.iter().map(Load::tally).collect();
            if total(&tallies).answers.len() == HOSTS {
                return kept;
            }
        }
        panic!("some replica is behind none of {} connections", kept.len());
    }

    /// Returns when the host was off the network.
    fn power_off(&mut self) -> Instant {
        self.hosts.cut(LOST);
        let cut = Instant::now();
        self.hosts.power_off(LOST);
        // What is left of its processes is waited for.
        self.cluster[LOST].kill();
        drop(self.engines.remove(LOST));
        cut
    }

    fn known_as_down(&self) -> Instant {
        let format = ["--format", "{{.ID}} {{.Status}}"];
        let lost = format!("{} Down", self.cluster[LOST].node_id());
        wait::until("the node to be known as down", || {
            let shown = self.cluster[0].ok(&[&["node", "ls"], &format[..]].concat());
            if shown.lines().any(|line| line == lost) { Ok(Instant::now()) } else { Err(shown) }
        })
    }
}

fn total(tallies: &[Tally]) -> Tally {
    let mut total = Tally::default();
    tallies.iter().for_each(|tally| total.add(tally.clone()));
    total
}

/// Until each load has had so many more requests answered or failed.
fn wait_requests(loads: &[&Load]) {
    let before: Vec<u64> = loads.iter().map(|load| load.tally().requests).collect();
    wait::until("enough requests", || {
        let sent: Vec<u64> = loads.iter().zip(&before).map(|(load, before)| load.tally().requests - before).collect();
        if sent.iter().all(|sent| *sent >= REQUESTS_MIN) { Ok(()) } else { Err(sent) }
    });
}

#[test]
fn a_host_without_power_costs_what_was_sent_to_it_and_nothing_once_it_is_known() {
    let test = "a_host_without_power_costs_what_was_sent_to_it";
    let (Some(()), Some(())) = (hosts::present(test), private_engine::present(test)) else { return };
    let mut field = Field::make();
    let (kept, one_each) = (field.kept_to_each(), field.load(Connections::OneEach));
    let all: Vec<&Load> = kept.iter().chain(&one_each).collect();
    wait_requests(&all);
    let before: Vec<Tally> = kept.iter().map(Load::tally).collect();
    let cut = field.power_off();
    let known = field.known_as_down();
    wait::until("the news to be everywhere", || if known.elapsed() > NEWS { Ok(()) } else { Err(known) });
    let later = field.load(Connections::OneEach);
    wait_requests(&all);
    wait_requests(&later.iter().collect::<Vec<_>>());
    let (kept, one_each, later) = (field.finish(kept), field.finish(one_each), total(&field.finish(later)));
    // And the one that took the lost one's place, as a rule.
    assert!(total(&one_each).answers.len() >= HOSTS, "all replicas were asked");
    for tally in kept.iter().chain(&one_each) {
        assert!(tally.failed_last.is_none_or(|began| began <= known + NEWS), "after it was known: {tally:#?}");
    }
    // A new connection that is sent there is tried again elsewhere: it shows in the time alone.
    assert!(later.failed == 0 && later.slowest < ANSWER_MAX, "sent there after it was known: {later:#?}");
    // A connection to it that is kept takes a request with it; no client opens a second one to a host that is gone.
    for (before, after) in before.iter().zip(&kept) {
        let led_there = before.answers.keys().any(|replica| !later.answers.contains_key(replica));
        assert!(after.failed <= u64::from(led_there), "{before:#?} became {after:#?}");
    }
    let one_each = total(&one_each);
    assert!(one_each.failed_last.is_none_or(|began| began <= cut), "not in flight when the power went: {one_each:#?}");
    for target in field.asked() {
        assert!(field.runtime.block_on(load::get(target)).is_ok());
    }
}
