//! `--on-isolation stop`, with real containers: whatever happens to the node that runs the task, its container has ended
//! before the next one starts. Looked at is what the engine says of both, and not what anybody reports.

use std::collections::{BTreeMap, BTreeSet};

use muster_chaos::hosts::{self, Hosts};
use muster_tests::{
    cluster::Cluster,
    daemon::{Daemon, Engine},
    engine::{self, Images},
    wait,
};

use crate::MUSTER;

/// Three managers and a worker.
const HOSTS: usize = 4;
const WORKER: usize = 3;

/// When a container ran, by the engine's clock, as text that sorts by time. None: it still runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ran {
    from: String,
    until: Option<String>,
}

/// What the engine of this machine, which all nodes share, knows of a cluster's containers.
struct Witness {
    cluster: String,
    ran: BTreeMap<String, Ran>,
}

impl Witness {
    /// Returns whose containers are there. Those that are gone by now stay as they were seen last.
    fn look(&mut self) -> BTreeSet<String> {
        let mut there = BTreeSet::new();
        for container in engine::containers(&self.cluster) {
            let Some(shown) = engine::find(&container.id) else { continue };
            let state = &shown["State"];
            let time = |field: &str| state[field].as_str().filter(|at| !at.starts_with("0001")).map(sortable);
            let Some(from) = time("StartedAt") else { continue };
            let until = if state["Running"] == true { None } else { time("FinishedAt") };
            there.insert(container.task.clone());
            self.ran.insert(container.task, Ran { from, until });
        }
        there
    }

    fn running(&mut self) -> BTreeSet<String> {
        let there = self.look();
        there.into_iter().filter(|task| self.ran[task].until.is_none()).collect()
    }

    /// The one task that runs, once it is another.
    fn wait_other(&mut self, than: &str) -> String {
        wait::until("another task to run, and it alone", || {
            let running = self.running();
            match running.iter().next() {
                Some(task) if running.len() == 1 && task != than => Ok(task.clone()),
                Some(_) | None => Err(running),
            }
        })
    }

    fn assert_never_two(&mut self, what: &str) {
        self.look();
        let mut ran: Vec<&Ran> = self.ran.values().collect();
        ran.sort();
        for pair in ran.windows(2) {
            let [earlier, later] = pair else { unreachable!("windows of two") };
            let ended = earlier.until.as_ref().is_some_and(|until| *until <= later.from);
            assert!(ended, "{what}: two at once: {earlier:?} and {later:?}");
        }
    }
}

/// The engine leaves out zeros at the end of a second's fraction.
fn sortable(at: &str) -> String {
    let (second, fraction) = at.trim_end_matches('Z').split_once('.').unwrap_or((at.trim_end_matches('Z'), ""));
    format!("{second}.{fraction:0<9}")
}

/// Which node runs the only task of the service.
fn host_of(cluster: &Cluster, ask: usize, service: &str) -> usize {
    wait::until("the task to run somewhere", || {
        for number in 0..HOSTS {
            let id = cluster[number].node_id();
            let format = ["--filter", "desired-state=running", "--format", "{{.Name}} {{.CurrentState}}"];
            let shown = cluster[ask].ok(&[&["node", "ps"], &format[..], &[&id]].concat());
            if shown.lines().any(|line| line.starts_with(service) && line.contains(" Running")) {
                return Ok(number);
            }
        }
        Err("nowhere")
    })
}

fn set_availability(cluster: &Cluster, ask: usize, host: usize, availability: &str) {
    cluster[ask].ok(&["node", "update", "--availability", availability, &cluster[host].node_id()]);
}

/// A task on that very host, and no other one anywhere.
fn place_on(cluster: &Cluster, witness: &mut Witness, service: &str, image: &str, host: usize) -> String {
    let ask = (host + 1) % 3;
    let others = (0..HOSTS).filter(|other| *other != host);
    others.clone().for_each(|other| set_availability(cluster, ask, other, "pause"));
    let create = ["service", "create", "--quiet", "--name", service, "--on-isolation", "stop", "--stop-grace-period"];
    cluster[ask].ok(&[&create[..], &["2s", image]].concat());
    others.for_each(|other| set_availability(cluster, ask, other, "active"));
    assert_eq!(host_of(cluster, ask, service), host);
    let running = witness.running();
    assert_eq!(running.len(), 1, "{running:?}");
    running.into_iter().next().expect("one")
}

/// The task runs on `host`, that happens to it, another one runs elsewhere, `mend` makes it good, and the other stays.
fn check(
    cluster: &mut Cluster,
    witness: &mut Witness,
    what: &str,
    image: &str,
    host: usize,
    (happen, mend): (impl FnOnce(&mut Daemon), impl FnOnce(&mut Daemon)),
) {
    let ask = (host + 1) % 3;
    let name = format!("single-{}", what.replace(' ', "-"));
    let before = place_on(cluster, witness, &name, image, host);
    happen(&mut cluster[host]);
    let after = witness.wait_other(&before);
    witness.assert_never_two(what);
    mend(&mut cluster[host]);
    cluster.wait_ready(ask);
    cluster[ask].wait_running(&name, 1);
    assert_eq!(witness.running(), [after].into(), "{what}: what replaced it was left alone");
    witness.assert_never_two(what);
    cluster[ask].ok(&["service", "rm", &name]);
    wait::until("its containers to be gone", || {
        let left = engine::containers(&witness.cluster);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    witness.ran.clear();
}

#[test]
fn never_two_at_once() {
    let test = "never_two_at_once";
    let (Some(()), Some(())) = (hosts::present(test), engine::present(test)) else { return };
    let images = Images::make(&["1.0.0"]);
    let image = images.name("1.0.0");
    let hosts = Hosts::make(HOSTS);
    let mut cluster = Cluster::on(MUSTER, &hosts, &Engine::Docker, 3);
    cluster.wait_ready(0);
    let mut witness = Witness { cluster: cluster[0].cluster_id(), ran: BTreeMap::new() };

    let paused = (|node: &mut Daemon| node.pause(), |node: &mut Daemon| node.resume());
    check(&mut cluster, &mut witness, "agent paused", &image, WORKER, paused);
    let killed = (Daemon::kill, Daemon::restart);
    check(&mut cluster, &mut witness, "daemon killed", &image, WORKER, killed);
    let cut = (|_: &mut Daemon| hosts.cut(WORKER), |_: &mut Daemon| hosts.heal(WORKER));
    check(&mut cluster, &mut witness, "worker cut off", &image, WORKER, cut);
    let leader = cluster.leader();
    let cut = (|_: &mut Daemon| hosts.cut(leader), |_: &mut Daemon| hosts.heal(leader));
    check(&mut cluster, &mut witness, "leader cut off", &image, leader, cut);
    let leader = cluster.leader();
    let killed_and_cut = (
        |node: &mut Daemon| {
            hosts.cut(leader);
            node.kill();
        },
        |node: &mut Daemon| {
            hosts.heal(leader);
            node.restart();
        },
    );
    check(&mut cluster, &mut witness, "leader cut off and killed", &image, leader, killed_and_cut);
}

/// Services that run on in isolation: what is too many, and what nobody wants any more, ends once the node is back.
#[test]
fn what_a_returning_node_has_too_many_ends() {
    let test = "what_a_returning_node_has_too_many_ends";
    let (Some(()), Some(())) = (hosts::present(test), engine::present(test)) else { return };
    let images = Images::make(&["1.0.0"]);
    let image = images.name("1.0.0");
    let hosts = Hosts::make(HOSTS);
    let cluster = Cluster::on(MUSTER, &hosts, &Engine::Docker, 3);
    cluster.wait_ready(0);
    let mut witness = Witness { cluster: cluster[0].cluster_id(), ran: BTreeMap::new() };
    for name in ["web", "gone"] {
        let create = ["service", "create", "--quiet", "--name", name, "--replicas", "4", "--stop-grace-period", "2s"];
        cluster[0].ok(&[&create[..], &[&image]].concat());
    }
    assert_eq!(witness.running().len(), 8);
    let wanted_of = |words: &[&str]| -> BTreeSet<String> {
        let format = ["--filter", "desired-state=running", "--no-trunc", "--format", "{{.ID}}"];
        cluster[0].ok(&[&words[..2], &format[..], &words[2..]].concat()).lines().map(str::to_owned).collect()
    };
    let dead = cluster[WORKER].node_id();
    let cut_off = wanted_of(&["node", "ps", &dead]);
    assert!(!cut_off.is_empty(), "the worker runs something");
    hosts.cut(WORKER);
    wait::until("nothing to be wanted there", || {
        let there = wanted_of(&["node", "ps", &dead]);
        if there.is_empty() { Ok(()) } else { Err(there) }
    });
    cluster[0].wait_running("web", 4);
    cluster[0].ok(&["service", "rm", "gone"]);
    let wanted = wanted_of(&["service", "ps", "web"]);
    let with_cut_off: BTreeSet<String> = wanted.union(&cut_off).cloned().collect();
    wait::until("only the node that is cut off to have too many", || {
        let running = witness.running();
        if running == with_cut_off { Ok(()) } else { Err((running, with_cut_off.clone())) }
    });
    hosts.heal(WORKER);
    wait::until("the surplus, and what outlived its service, to end", || {
        let running = witness.running();
        if running == wanted { Ok(()) } else { Err((running, wanted.clone())) }
    });
    assert_eq!(cluster[0].states("web"), ["Running"; 4]);
}
