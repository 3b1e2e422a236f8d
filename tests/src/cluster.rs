//! Several daemons that are one cluster: on loopback addresses of this machine, or on hosts of their own.

use std::{
    net::{Ipv4Addr, TcpListener},
    ops::{Index, IndexMut},
};

use muster_chaos::hosts::Hosts;

use crate::{
    daemon::{Daemon, Engine, PORT, Place},
    wait,
};

#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Daemon>,
}

/// A network of loopback addresses that nobody else here uses: `127.A.B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback([u8; 2]);

impl Loopback {
    #[must_use]
    pub fn new() -> Self {
        loop {
            let [a, b] = rand::random::<u16>().to_be_bytes();
            let network = Self([a | 1, b]);
            // The machine's own 127.0.0.1 is not among them, and no two runs are likely to draw the same one.
            if TcpListener::bind((network.address(0), PORT)).is_ok() {
                return network;
            }
        }
    }

    #[must_use]
    pub fn address(self, number: u8) -> Ipv4Addr {
        let [a, b] = self.0;
        Ipv4Addr::new(127, a, b, 11 + number)
    }

    #[must_use]
    pub fn place(self, number: usize) -> Place {
        Place::local((self.address(u8::try_from(number).expect("few nodes")), PORT).into())
    }
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// So many managers on this machine, without containers.
    #[must_use]
    pub fn of(program: &str, managers: usize) -> Self {
        Self::local(program, &Engine::Sim, managers, 0)
    }

    #[must_use]
    pub fn local(program: &str, engine: &Engine, managers: usize, workers: usize) -> Self {
        let network = Loopback::new();
        let start = |number| Daemon::start_at(program, engine.clone(), network.place(number));
        Self::form((0..managers + workers).map(start).collect(), managers)
    }

    /// A node on each host; with a host's own engine where it has one.
    #[must_use]
    pub fn on(program: &str, hosts: &Hosts, engine: &Engine, managers: usize) -> Self {
        let start = |number| Daemon::start_at(program, engine.clone(), Place::host(hosts, number));
        Self::form((0..hosts.count()).map(start).collect(), managers)
    }

    /// The first inits, the others join it one after the other, the first of them as managers.
    #[must_use]
    pub fn form(mut nodes: Vec<Daemon>, managers: usize) -> Self {
        let (first, others) = nodes.split_first_mut().expect("a cluster has a node");
        first.init();
        for (number, node) in others.iter_mut().enumerate() {
            node.join(first, if number + 1 < managers { "manager" } else { "worker" });
        }
        Self::formed(nodes, managers)
    }

    /// Of nodes that are one already.
    #[must_use]
    pub fn formed(nodes: Vec<Daemon>, managers: usize) -> Self {
        let cluster = Self { nodes };
        cluster.wait_managers(0, managers);
        cluster
    }

    /// Until a node says that all are ready.
    pub fn wait_ready(&self, ask: usize) {
        wait::until("all nodes to be ready", || {
            let shown = self[ask].run(&["node", "ls", "--format", "{{.Status}}"]);
            let ready = shown.stdout.lines().filter(|line| *line == "Ready").count();
            if shown.status.success() && ready == self.nodes.len() { Ok(()) } else { Err(shown) }
        });
    }

    #[must_use]
    pub fn nodes(&self) -> &[Daemon] {
        &self.nodes
    }

    pub fn push(&mut self, node: Daemon) {
        self.nodes.push(node);
    }

    /// Until a node says that so many managers are reachable, one of them the leader.
    pub fn wait_managers(&self, ask: usize, managers: usize) {
        wait::until("all managers to be reachable, one of them the leader", || {
            let shown = self[ask].run(&["node", "ls", "--format", "{{.ManagerStatus}}"]);
            let count = |status: &str| shown.stdout.lines().filter(|line| *line == status).count();
            let reachable = count("Leader") == 1 && count("Leader") + count("Reachable") == managers;
            if shown.status.success() && reachable { Ok(()) } else { Err(shown) }
        });
    }

    /// The leader by what a node says, once it says so.
    #[must_use]
    pub fn leader_by(&self, ask: usize) -> usize {
        wait::until("a leader", || {
            let shown = self[ask].run(&["node", "ls", "--format", "{{.ID}} {{.ManagerStatus}}"]);
            let leader = shown.stdout.lines().find_map(|line| line.strip_suffix(" Leader"));
            let number = leader.and_then(|id| self.nodes.iter().position(|node| node.node_id() == id));
            number.ok_or(shown)
        })
    }

    /// By what the first that runs says.
    #[must_use]
    pub fn leader(&self) -> usize {
        self.leader_by(self.nodes.iter().position(Daemon::is_running).expect("a node runs"))
    }

    /// Some manager that is not the leader: the next in order.
    #[must_use]
    pub fn after(&self, number: usize) -> usize {
        (number + 1) % self.nodes.len()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Together: one that is left behind would wait for the others, or start again what is removed.
        for node in &mut self.nodes {
            if node.is_running() {
                node.kill();
            }
        }
    }
}

impl Index<usize> for Cluster {
    type Output = Daemon;

    fn index(&self, number: usize) -> &Daemon {
        &self.nodes[number]
    }
}

impl IndexMut<usize> for Cluster {
    fn index_mut(&mut self, number: usize) -> &mut Daemon {
        &mut self.nodes[number]
    }
}
