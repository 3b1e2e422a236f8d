//! Networks that are cut for less than a lease: nothing restarts, and no node is taken for dead.

use std::{collections::BTreeSet, time::Duration};

use muster_chaos::hosts::{self, Hosts};
use muster_tests::{
    cluster::Cluster,
    daemon::{Daemon, Engine},
};

use crate::MUSTER;

/// The first are managers, and are not cut off: that is a matter of elections too.
const MANAGERS: usize = 3;
/// Two thirds of the lease of 3 s.
const CUT: Duration = Duration::from_secs(2);
/// Of each host.
const CUTS: usize = 3;

/// Every task there ever was, with what it should be and is, but for the age.
fn tasks(daemon: &Daemon, service: &str) -> BTreeSet<String> {
    let format = "{{.ID}} {{.DesiredState}} {{.CurrentState}}";
    let shown = daemon.ok(&["service", "ps", "--no-trunc", "--format", format, service]);
    shown.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ")).collect()
}

/// How often a node was taken for dead, or took itself for cut off.
fn leases_over(cluster: &Cluster) -> usize {
    let lines = |node: &Daemon| node.log().lines().filter(|line| line.contains("lease is over")).count();
    cluster.nodes().iter().map(lines).sum()
}

#[test]
fn a_cut_shorter_than_the_lease_restarts_nothing() {
    let Some(()) = hosts::present("a_cut_shorter_than_the_lease_restarts_nothing") else { return };
    let hosts = Hosts::make(MANAGERS + 2);
    let cluster = Cluster::on(MUSTER, &hosts, &Engine::Sim, MANAGERS);
    cluster.wait_ready(0);
    for (name, isolation) in [("ordinary", "keep"), ("single", "stop")] {
        let create = ["service", "create", "--quiet", "--mode", "global", "--name", name, "--on-isolation", isolation];
        cluster[0].ok(&[&create[..], &["sim:1"]].concat());
        cluster[0].wait_running(name, hosts.count());
    }
    let before = ["ordinary", "single"].map(|name| tasks(&cluster[0], name));
    let over = leases_over(&cluster);
    for round in 0..CUTS {
        for host in MANAGERS..hosts.count() {
            let asked = host % MANAGERS;
            hosts.cut_for(host, CUT);
            // A service made now has a task there: its node has a session again, and what it had to say is said.
            let name = format!("probe-{round}-{host}");
            let create = ["service", "create", "--quiet", "--mode", "global", "--name", &name, "sim:1"];
            cluster[asked].ok(&create);
            cluster[asked].wait_running(&name, hosts.count());
            let after = ["ordinary", "single"].map(|name| tasks(&cluster[asked], name));
            assert_eq!(after, before, "host {host} was cut off for {CUT:?}, round {round}");
            assert_eq!(leases_over(&cluster), over, "host {host} was cut off for {CUT:?}, round {round}");
        }
    }
}
