//! Networks that are cut for less than a lease: no container restarts, and no node is taken for dead, whoever is cut
//! off: a worker, a manager, or the leader, whose successor gives every node a fresh lease.

use std::{collections::BTreeSet, time::Duration};

use muster_chaos::hosts::{self, Hosts};
use muster_tests::{
    cluster::Cluster,
    daemon::{Daemon, Engine, Place},
    engine::Images,
    host_engine::HostEngine,
    private_engine,
};

use crate::MUSTER;

const MANAGERS: usize = 3;
/// The others are managers.
const WORKER: usize = 3;
const HOSTS: usize = 4;
/// Two thirds of the lease of 3 s.
const CUT: Duration = Duration::from_secs(2);
/// Of each kind of host.
const ROUNDS: usize = 3;
/// What may run on in isolation, and what must not.
const SERVICES: [(&str, &str); 2] = [("ordinary", "keep"), ("single", "stop")];

struct Field {
    // Dropped in this order: daemons, engines, hosts.
    cluster: Cluster,
    _engines: Vec<HostEngine>,
    hosts: Hosts,
    image: String,
    _images: Images,
}

impl Field {
    /// A task of each service on every host.
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
        let cluster = Cluster::form(nodes, MANAGERS);
        cluster.wait_ready(0);
        let field = Self { cluster, _engines: engines, hosts, image, _images: images };
        for (name, isolation) in SERVICES {
            field.create(0, name, isolation);
        }
        field
    }

    fn create(&self, ask: usize, name: &str, isolation: &str) {
        let create = ["service", "create", "--quiet", "--mode", "global", "--name", name, "--on-isolation", isolation];
        self.cluster[ask].ok(&[&create[..], &[&self.image]].concat());
        self.cluster[ask].wait_running(name, HOSTS);
    }

    /// Every task there ever was, with what it should be and is, but for the age.
    fn tasks(&self, ask: usize) -> BTreeSet<String> {
        let format = "{{.ID}} {{.DesiredState}} {{.CurrentState}}";
        let shown =
            SERVICES.map(|(name, _)| self.cluster[ask].ok(&["service", "ps", "--no-trunc", "--format", format, name]));
        let lines = shown.iter().flat_map(|shown| shown.lines());
        lines.map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
    }

    /// Who said that a node is taken for dead, or that it takes itself for cut off.
    fn leases_over(&self) -> Vec<String> {
        let lines = |node: &Daemon| -> Vec<String> {
            node.log().lines().filter(|line| line.contains("lease is over")).map(str::to_owned).collect()
        };
        self.cluster.nodes().iter().flat_map(lines).collect()
    }
}

#[test]
fn a_cut_shorter_than_the_lease_restarts_nothing() {
    let test = "a_cut_shorter_than_the_lease_restarts_nothing";
    let (Some(()), Some(())) = (hosts::present(test), private_engine::present(test)) else { return };
    let field = Field::make();
    let before = field.tasks(0);
    assert_eq!(before.len(), SERVICES.len() * HOSTS);
    let over = field.leases_over();
    for round in 0..ROUNDS {
        for kind in ["worker", "follower", "leader"] {
            let leader = field.cluster.leader();
            let host = match kind {
                "worker" => WORKER,
                "follower" => (leader + 1) % MANAGERS,
                _ => leader,
            };
            let ask = (0..MANAGERS).find(|manager| *manager != host).expect("another manager");
            field.hosts.cut_for(host, CUT);
            // A service made now has a task there: its node has a session again, and what it had to say is said.
            let probe = format!("probe-{round}-{kind}");
            field.create(ask, &probe, "keep");
            let context = format!("the {kind}'s host was cut off for {CUT:?}, round {round}");
            assert_eq!(field.tasks(ask), before, "{context}");
            assert_eq!(field.leases_over(), over, "{context}");
            field.cluster[ask].ok(&["service", "rm", &probe]);
        }
    }
}
