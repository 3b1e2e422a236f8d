//! Acknowledged writes per second, each durable on a majority of three managers, beside three members of etcd: the same
//! number of clients, each with a connection of its own and one write under way, the same size of value, the same
//! machine, in turns.
//!
//! A write of ours is an update of a service through the control API, checked and planned for; one of etcd's is a put.
//! Between managers ours are encrypted, etcd's are not.

use std::time::{Duration, Instant};

use anyhow::Context;
use muster_tests::cluster::Cluster;
use tokio::task::JoinSet;
use tonic::{client::Grpc, transport::Channel};

use crate::{
    api::{self, Register},
    distribution,
    etcd::{self, Etcd},
    spread,
};

const MANAGERS: usize = 3;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub clients: usize,
    pub value_bytes: usize,
    pub seconds: u64,
    pub rounds: usize,
}

/// Whom the clients talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doors {
    Leader,
    All,
}

struct Measured {
    per_second: f64,
    took_ms: Vec<f64>,
}

pub(crate) fn run(program: &str, size: Size) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let cluster = Cluster::of(program, MANAGERS);
    for client in 0..size.clients {
        Register::create(&cluster[0], &format!("register{client}"));
    }
    let etcd = Etcd::start()?;
    if etcd.is_none() {
        println!("etcd is not installed (apt-get install etcd-server): nothing to compare with");
    }
    println!("{} clients, values of {} bytes, {} s a run", size.clients, size.value_bytes, size.seconds);
    for (doors, words) in [(Doors::Leader, "through the leader"), (Doors::All, "spread over all three")] {
        let (mut own_rounds, mut other_rounds, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..size.rounds {
            let own = runtime.block_on(async { measure(ours(&cluster, doors, size).await?, size).await })?;
            if let Some(etcd) = &etcd {
                let other = runtime.block_on(async { measure(theirs(etcd, doors, size).await?, size).await })?;
                ratios.push(own.per_second / other.per_second);
                other_rounds.push(other);
            }
            own_rounds.push(own);
        }
        println!("{words}");
        show("muster", &own_rounds);
        show("etcd", &other_rounds);
        println!("  ratio   {}", spread(&ratios, "times"));
    }
    Ok(())
}

fn show(who: &str, rounds: &[Measured]) {
    let per_second: Vec<f64> = rounds.iter().map(|measured| measured.per_second).collect();
    let took: Vec<f64> = rounds.iter().flat_map(|measured| measured.took_ms.iter().copied()).collect();
    println!("  {who:7} {}", spread(&per_second, "acknowledged writes/s"));
    println!("  {who:7} {}", distribution(&took, "ms each"));
}

/// One client with a connection of its own.
enum Client {
    Muster(Box<Register>),
    Etcd(Grpc<Channel>, Vec<u8>),
}

impl Client {
    async fn write(&mut self, value: &str) -> anyhow::Result<()> {
        match self {
            Client::Muster(register) => register.write(value).await,
            Client::Etcd(etcd, key) => etcd::put(etcd, key, value.as_bytes()).await,
        }
    }
}

async fn ours(cluster: &Cluster, doors: Doors, size: Size) -> anyhow::Result<Vec<Client>> {
    let (leader, mut clients) = (cluster.leader(), Vec::new());
    for client in 0..size.clients {
        let control = api::connect(&cluster[door(doors, leader, client, MANAGERS)]).await?;
        clients.push(Client::Muster(Box::new(Register::open(control, &format!("register{client}")).await?)));
    }
    Ok(clients)
}

async fn theirs(etcd: &Etcd, doors: Doors, size: Size) -> anyhow::Result<Vec<Client>> {
    let (leader, mut clients) = (etcd.leader().await?, Vec::new());
    for client in 0..size.clients {
        let channel = etcd.connect(door(doors, leader, client, etcd::MEMBERS)).await?;
        clients.push(Client::Etcd(Grpc::new(channel), format!("register{client}").into_bytes()));
    }
    Ok(clients)
}

/// All clients write at once, each its next value once the one before is acknowledged, until the time is over.
async fn measure(clients: Vec<Client>, size: Size) -> anyhow::Result<Measured> {
    let (began, lasts) = (Instant::now(), Duration::from_secs(size.seconds));
    let mut writing = JoinSet::new();
    for mut client in clients {
        writing.spawn(async move {
            let (mut took_ms, mut number) = (Vec::new(), 0_u64);
            while began.elapsed() < lasts {
                // Never the value of before, always as long.
                number += 1;
                let value = format!("{number:0width$}", width = size.value_bytes);
                let sent = Instant::now();
                client.write(&value).await?;
                took_ms.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            anyhow::Ok(took_ms)
        });
    }
    let mut took_ms = Vec::new();
    while let Some(client) = writing.join_next().await {
        took_ms.extend(client.context("a client panicked")??);
    }
    let per_second = took_ms.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Measured { per_second, took_ms })
}

fn door(doors: Doors, leader: usize, client: usize, count: usize) -> usize {
    match doors {
        Doors::Leader => leader,
        Doors::All => client % count,
    }
}
