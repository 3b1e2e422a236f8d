//! Five hosts, each with an engine of its own, three of them managers: how long a service misses replicas when a host
//! loses its power and is still sent connections, what a short cut of the network restarts, how soon the surplus of a
//! longer one stops, how soon a removed service has stopped, how long an update takes, and a join.

mod cuts;
mod news;

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bollard::query_parameters::ListContainersOptionsBuilder;
use muster_chaos::hosts::{self, Hosts};
use muster_cli::demo::image;
use muster_proto::v1;
use muster_tests::{
    cluster::Cluster,
    daemon::{Daemon, Engine, Place},
    engine::Images,
    host_engine::HostEngine,
};
use tokio::runtime::Runtime;

use crate::{api, distribution, spread};

const HOSTS: usize = 5;
const MANAGERS: usize = 3;
const SERVICE: &str = "bench";
/// Must not run in isolation, unlike the other.
const SINGLE: &str = "single";
const PORT: u16 = 8000;
const POLL: Duration = Duration::from_millis(20);
const RUNNING_WITHIN: Duration = Duration::from_secs(180);
/// After the cut: longer than a lease, so that whatever follows from it has followed.
const AFTER_CUT: Duration = Duration::from_secs(5);
const UPDATE: [&str; 4] = ["--update-parallelism", "5", "--update-monitor", "100ms"];
const UPDATED: usize = 20;
const REMOVALS: usize = 5;

struct Field {
    // Dropped in this order: daemons, engines, hosts.
    cluster: Cluster,
    engines: Vec<Option<HostEngine>>,
    hosts: Hosts,
    images: Images,
    runtime: Runtime,
    replicas: usize,
}

/// A task as the leader knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    service: String,
    task: String,
    node: String,
}

/// How often each is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    pub(crate) power: usize,
    pub(crate) cuts: usize,
    pub(crate) updates: usize,
}

pub(crate) fn run(program: &str, rounds: Rounds, replicas: usize, cuts: &[Duration]) -> anyhow::Result<()> {
    hosts::present("bench nodes").context("five hosts are needed")?;
    let mut field = Field::make(program, replicas)?;
    println!("{HOSTS} hosts, {MANAGERS} of them managers, {replicas} replicas");
    field.powers(rounds.power)?;

    field.create(SERVICE, &[]);
    field.create(SINGLE, &["--on-isolation", "stop"]);
    field.settle(2 * replicas)?;
    cuts::measure(&field, rounds.cuts, cuts)?;
    field.remove(&[SINGLE, SERVICE])?;
    field.removals()?;
    field.updates(rounds.updates)
}

impl Field {
    fn make(program: &str, replicas: usize) -> anyhow::Result<Self> {
        let images = Images::make(&["1.0.0", "2.0.0"]);
        let hosts = Hosts::make(HOSTS);
        let mut engines = Vec::new();
        let mut nodes: Vec<Daemon> = Vec::new();
        let mut joins = Vec::new();
        for host in 0..HOSTS {
            let engine = HostEngine::start(&hosts, host);
            engine.load(&images.name("1.0.0"));
            engine.load(&images.name("2.0.0"));
            let mut node = Daemon::start_at(program, Engine::DockerAt(engine.socket()), Place::host(&hosts, host));
            match nodes.first() {
                None => node.init(),
                Some(first) => {
                    let began = Instant::now();
                    node.join(first, if host < MANAGERS { "manager" } else { "worker" });
                    joins.push(began.elapsed().as_secs_f64());
                }
            }
            nodes.push(node);
            engines.push(Some(engine));
        }
        println!("a join, both of its commands");
        println!("  {}", spread(&joins, "s"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { cluster: Cluster::formed(nodes, MANAGERS), engines, hosts, images, runtime, replicas })
    }

    /// All its replicas run.
    fn create(&self, name: &str, flags: &[&str]) {
        let (count, image) = (self.replicas.to_string(), self.images.name("1.0.0"));
        let create = ["service", "create", "--quiet", "--name", name, "--replicas", &count];
        self.cluster[0].ok(&[&create[..], flags, &[&image]].concat());
    }

    /// No container of theirs runs any more, nor of any other service.
    fn remove(&self, services: &[&str]) -> anyhow::Result<()> {
        self.cluster[0].ok(&[&["service", "rm"], services].concat());
        let is_idle = || (0..HOSTS).all(|host| self.containers(host).is_ok_and(|running| running.is_empty()));
        self.wait("what was removed to stop", is_idle)
    }

    /// Running tasks of the service by what a manager says, on nodes other than `without`. None while it cannot say.
    fn running(&self, ask: usize, without: Option<&str>) -> Option<BTreeSet<Placed>> {
        let tasks = self.tasks(ask)?;
        let running = tasks.into_iter().filter(|task| task.desired() == v1::DesiredState::Running && runs(task));
        let placed = running.map(|task| Placed {
            service: task.service_name,
            task: task.id,
            node: task.node_id.unwrap_or_default(),
        });
        Some(placed.filter(|placed| without != Some(placed.node.as_str())).collect())
    }

    /// By what a manager says. None while it cannot.
    fn tasks(&self, ask: usize) -> Option<Vec<v1::Task>> {
        self.runtime.block_on(async {
            let mut control = api::connect(&self.cluster[ask]).await.ok()?;
            let request = v1::ListTasksRequest { service_id: String::new(), node_id: String::new() };
            let answer = tokio::time::timeout(RUNNING_WITHIN, control.list_tasks(request)).await.ok()?;
            Some(answer.ok()?.into_inner().tasks)
        })
    }

    /// As soon as a manager can say: there may be an election.
    fn listed(&self, ask: usize) -> anyhow::Result<BTreeSet<Placed>> {
        let began = Instant::now();
        loop {
            match self.running(ask, None) {
                Some(running) => return Ok(running),
                None if began.elapsed() > RUNNING_WITHIN => bail!("no list of tasks within {RUNNING_WITHIN:?}"),
                None => thread::sleep(POLL),
            }
        }
    }

    /// Of some hosts, the one with most tasks.
    fn fullest(&self, among: std::ops::Range<usize>) -> anyhow::Result<usize> {
        let running = self.listed(self.cluster.leader())?;
        among.max_by_key(|host| self.on(*host, &running)).context("a host")
    }

    /// How many of these run on a host.
    fn on(&self, host: usize, running: &BTreeSet<Placed>) -> usize {
        let node = self.cluster[host].node_id();
        running.iter().filter(|placed| placed.node == node).count()
    }

    /// Containers that run on a host, whoever wants them.
    fn containers(&self, host: usize) -> anyhow::Result<BTreeSet<String>> {
        let engine = self.engines[host].as_ref().context("the host has its power")?;
        let docker = image::connect(&engine.socket())?;
        let options = ListContainersOptionsBuilder::new().build();
        let running = self.runtime.block_on(docker.list_containers(Some(options)))?;
        Ok(running.into_iter().filter_map(|container| container.id).collect())
    }

    fn wait(&self, what: &str, reached: impl Fn() -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !reached() {
            if began.elapsed() > RUNNING_WITHIN {
                bail!("waited {RUNNING_WITHIN:?} in vain for {what}");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Each round with a service of its own, which is spread over all hosts whatever happened in those before.
    fn powers(&mut self, rounds: usize) -> anyhow::Result<()> {
        let mut figures: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            figures[0].push(self.round(|field| field.power_off(field.fullest(MANAGERS..HOSTS)?))?);
        }
        for _ in 0..rounds {
            figures[1].push(self.round(|field| field.power_off(field.cluster.leader()))?);
        }
        for _ in 0..rounds {
            figures[2].extend(self.round(Self::news)?);
        }
        let nothing_lost = rounds - figures[2].len();
        for _ in 0..rounds {
            figures[3].push(self.round(|field| field.surplus(field.fullest(MANAGERS..HOSTS)?))?);
        }
        let what = [
            "a worker without power, until all replicas run again",
            "the leader's host without power, until all replicas run again",
            "a worker without power, from being known as down to the last request that was sent there",
            "a worker back from a cut of its network, until what was replaced meanwhile has stopped",
        ];
        for (what, figures) in what.iter().zip(&figures) {
            println!("{what}");
            println!("  {}", distribution(figures, "s"));
        }
        println!("the third is of the rounds that lost a request; {nothing_lost} of {rounds} lost none");
        Ok(())
    }

    fn round<T>(&mut self, measure: impl FnOnce(&mut Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.create(SERVICE, &["-p", &format!("{PORT}:8000")]);
        let measured = measure(self)?;
        self.remove(&[SERVICE])?;
        Ok(measured)
    }

    /// A host that runs nothing has nothing to lose, and tells nothing.
    fn check_runs_something(&self, host: usize, ask: usize) -> anyhow::Result<()> {
        if self.on(host, &self.listed(ask)?) == 0 {
            bail!("the host that is to lose its power runs nothing, so that there is nothing to measure");
        }
        Ok(())
    }

    /// Seconds until all replicas run on the other hosts. Afterwards the host is back.
    fn power_off(&mut self, host: usize) -> anyhow::Result<f64> {
        let (node, ask) = (self.cluster[host].node_id(), (host + 1) % MANAGERS);
        self.check_runs_something(host, ask)?;
        let began = Instant::now();
        self.hosts.power_off(host);
        let took = loop {
            if self.running(ask, Some(&node)).is_some_and(|running| running.len() == self.replicas) {
                break began.elapsed().as_secs_f64();
            }
            if began.elapsed() > RUNNING_WITHIN {
                bail!(
                    "not all replicas run again after {RUNNING_WITHIN:?}: {}",
                    self.cluster[ask].ok(&["service", "ps", SERVICE])
                );
            }
            thread::sleep(POLL);
        };
        self.power_on(host);
        Ok(took)
    }

    /// Until every node is ready and every replica runs, and nothing else does.
    fn settle(&self, replicas: usize) -> anyhow::Result<()> {
        self.cluster.wait_ready(0);
        let began = Instant::now();
        // The tasks that run may still be those that a plan under way replaces: it has to be so twice.
        let mut was_settled = false;
        loop {
            let is_settled = self.is_settled(replicas);
            if is_settled && was_settled {
                return Ok(());
            }
            if !is_settled && began.elapsed() > RUNNING_WITHIN {
                bail!("the service did not settle: {}", self.cluster[0].ok(&["service", "ps", SERVICE]));
            }
            was_settled = is_settled;
            thread::sleep(if is_settled { AFTER_CUT } else { POLL });
        }
    }

    /// So many tasks are wanted, all of them run, and none is on its way to another node.
    fn is_settled(&self, replicas: usize) -> bool {
        let Some(tasks) = self.tasks(0) else { return false };
        let is_wanted = |task: &&v1::Task| {
            task.desired() <= v1::DesiredState::Running
                && task.status.as_ref().is_none_or(|status| status.state() <= v1::TaskState::Running)
        };
        let wanted: Vec<&v1::Task> = tasks.iter().filter(is_wanted).collect();
        wanted.len() == replicas && wanted.iter().all(|task| runs(task) && task.moves_to.is_none())
    }

    /// How soon a service that is removed has stopped everywhere. Nothing else runs meanwhile.
    fn removals(&self) -> anyhow::Result<()> {
        let mut removals = Vec::new();
        for _ in 0..REMOVALS {
            self.create(SERVICE, &[]);
            let began = Instant::now();
            self.remove(&[SERVICE])?;
            removals.push(began.elapsed().as_secs_f64());
        }
        println!("service removed, until no container of it runs");
        println!("  {}", distribution(&removals, "s"));
        Ok(())
    }

    fn updates(&self, rounds: usize) -> anyhow::Result<()> {
        let count = UPDATED.to_string();
        let names = [self.images.name("1.0.0"), self.images.name("2.0.0")];
        self.cluster[0].ok(&["service", "create", "--quiet", "--name", SERVICE, "--replicas", &count, &names[0]]);
        let mut updates = Vec::new();
        for round in 1..=rounds {
            let began = Instant::now();
            let update = ["service", "update", "--quiet", "--image", &names[round % 2]];
            self.cluster[0].ok(&[&update[..], &UPDATE, &[SERVICE]].concat());
            updates.push(began.elapsed().as_secs_f64());
        }
        println!("update of {UPDATED} replicas, parallelism 5, monitor 100 ms");
        println!("  {}", distribution(&updates, "s"));
        Ok(())
    }
}

fn runs(task: &v1::Task) -> bool {
    task.status.as_ref().is_some_and(|status| status.state() == v1::TaskState::Running)
}
