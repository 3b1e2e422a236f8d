//! What it costs that a task runs on another node: the same task asked through its own node's ingress and through
//! another's, over a new connection for each request and over kept ones.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use muster_cli::demo::load::{Client, Connections};
use muster_tests::{
    cluster::Cluster,
    daemon::{Engine, free_port},
    engine::Images,
    wait,
};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::distribution;

const KINDS: [(Connections, &str); 2] =
    [(Connections::OneEach, "a new connection for each request"), (Connections::Kept, "kept connections")];

/// How much is asked, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) clients: usize,
    /// Of one turn.
    pub(crate) seconds: u64,
    /// Turns of each, one after the other.
    pub(crate) rounds: usize,
}

/// What the turns of one way have shown.
#[derive(Debug, Default)]
struct Seen {
    /// Of each request.
    milliseconds: Vec<f64>,
    took: Duration,
}

impl Seen {
    fn per_second(&self) -> f64 {
        self.milliseconds.len() as f64 / self.took.as_secs_f64()
    }

    fn median(&self) -> f64 {
        let mut sorted = self.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

pub(crate) fn run(program: &str, size: Size) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let images = Images::make(&["1.0.0"]);
    let cluster = Cluster::local(program, &Engine::Docker, 1, 1);
    cluster.wait_ready(0);
    let port = free_port();
    let place = format!("node.id=={}", cluster[0].node_id());
    let publish = format!("{port}:8000");
    let create = ["service", "create", "--quiet", "--name", "bench", "--constraint", &place, "-p", &publish];
    cluster[0].ok(&[&create[..], &["--health-http", "8000/healthz", &images.name("1.0.0")]].concat());
    let [here, there] = [0, 1].map(|node| SocketAddr::new(cluster[node].address().ip(), port));
    for target in [here, there] {
        wait::until("every node's port to answer", || runtime.block_on(muster_cli::demo::load::get(target)));
    }
    println!("one task, {} clients, {} turns of {} s each way", size.clients, size.rounds, size.seconds);
    for (kind, words) in KINDS {
        let (mut local, mut hop) = (Seen::default(), Seen::default());
        for _ in 0..size.rounds {
            turn(&runtime, here, kind, size, &mut local)?;
            turn(&runtime, there, kind, size, &mut hop)?;
        }
        println!("{words}");
        for (way, seen) in [("through the task's node", &local), ("through another node", &hop)] {
            println!("  {way}: {:.0} requests/s", seen.per_second());
            println!("    {}", distribution(&seen.milliseconds, "ms"));
        }
        println!(
            "  another node beside the task's own: {:.2} times the median latency, {:.2} times the requests",
            hop.median() / local.median(),
            hop.per_second() / local.per_second()
        );
    }
    Ok(())
}

/// A request that fails ends the measurement.
fn turn(runtime: &Runtime, target: SocketAddr, kind: Connections, size: Size, seen: &mut Seen) -> anyhow::Result<()> {
    let began = Instant::now();
    let end = began + Duration::from_secs(size.seconds);
    let answered = runtime.block_on(async {
        let mut clients = JoinSet::new();
        for _ in 0..size.clients {
            clients.spawn(async move {
                let (mut client, mut milliseconds) = (Client::new(target, kind), Vec::new());
                while Instant::now() < end {
                    let sent = Instant::now();
                    client.get().await?;
                    milliseconds.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                anyhow::Ok(milliseconds)
            });
        }
        let mut answered = Vec::new();
        while let Some(client) = clients.join_next().await {
            answered.extend(client??);
        }
        anyhow::Ok(answered)
    })?;
    seen.milliseconds.extend(answered);
    seen.took += began.elapsed();
    Ok(())
}
