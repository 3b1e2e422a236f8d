//! How long no write is accepted when the leader of three managers dies, and when it stops in an orderly way.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use muster_tests::{cluster::Cluster, daemon::Daemon};
use tokio::{runtime::Runtime, sync::watch, task::JoinSet};

use crate::{
    api::{self, Register},
    distribution,
};

const MANAGERS: usize = 3;
/// So that the writes that follow are not those that the last election still delays.
const SETTLE: Duration = Duration::from_millis(500);

pub(crate) fn run(program: &str, kills: usize, hand_overs: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut cluster = Cluster::of(program, MANAGERS);
    for number in 0..MANAGERS {
        Register::create(&cluster[0], &name(number));
    }
    let mut killed = Vec::new();
    for _ in 0..kills {
        let leader = settled_leader(&cluster);
        killed.push(kill(&runtime, &mut cluster, leader)?);
        cluster[leader].restart();
    }
    println!("leader killed, until the next write is acknowledged ({MANAGERS} managers)");
    println!("  {}", distribution(&killed, "ms"));
    let mut handed = Vec::new();
    for _ in 0..hand_overs {
        let leader = settled_leader(&cluster);
        handed.push(hand_over(&runtime, &mut cluster, leader)?);
        cluster[leader].restart();
    }
    println!("leader stopped (SIGTERM), longest time between two acknowledged writes of one client");
    println!("  {}", distribution(&handed, "ms"));
    Ok(())
}

fn name(number: usize) -> String {
    format!("register{number}")
}

fn settled_leader(cluster: &Cluster) -> usize {
    cluster.wait_managers(0, MANAGERS);
    thread::sleep(SETTLE);
    cluster.leader()
}

fn others(leader: usize) -> impl Iterator<Item = usize> {
    (0..MANAGERS).filter(move |number| *number != leader)
}

/// Milliseconds from the kill to the first acknowledgement of a write that was sent after it, by either survivor.
fn kill(runtime: &Runtime, cluster: &mut Cluster, leader: usize) -> anyhow::Result<f64> {
    let mut registers = Vec::new();
    for number in others(leader) {
        registers.push(runtime.block_on(open(&cluster[number], number))?);
    }
    let began = Instant::now();
    cluster[leader].kill();
    runtime.block_on(async {
        let mut writes = JoinSet::new();
        for mut register in registers {
            writes.spawn(async move { register.write("after").await });
        }
        // The other is waited for too, so that no write of this round is left over in the next.
        let first = writes.join_next().await.context("a write")?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        first?.context("the first write after the leader's death")?;
        while let Some(other) = writes.join_next().await {
            other?.context("the second write after the leader's death")?;
        }
        Ok(took)
    })
}

async fn open(daemon: &Daemon, number: usize) -> anyhow::Result<Register> {
    Register::open(api::connect(daemon).await?, &name(number)).await
}

/// The longest time between two acknowledgements to a client of a follower while the leader stops.
fn hand_over(runtime: &Runtime, cluster: &mut Cluster, leader: usize) -> anyhow::Result<f64> {
    let through = cluster.after(leader);
    let mut register = runtime.block_on(open(&cluster[through], through))?;
    let (stop, stopped) = watch::channel(false);
    let writing = runtime.spawn(async move {
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        while !*stopped.borrow() {
            register.write("on and on").await?;
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        anyhow::Ok(longest)
    });
    thread::sleep(SETTLE);
    cluster[leader].stop();
    thread::sleep(SETTLE);
    stop.send_replace(true);
    let longest = runtime.block_on(writing)?.context("a write during the hand-over")?;
    Ok(longest.as_secs_f64() * 1e3)
}
