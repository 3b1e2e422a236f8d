//! The step in which the leader dies and comes back: how long no write is accepted, and what becomes of requests and
//! containers.
//!
//! Only its daemon is killed. Its containers run on, and its published port answers nobody until the daemon is back; so
//! its own clients end before, and those of the other nodes go on.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::format::text::counted;

use super::{
    clients::Clients,
    cluster::{Cluster, NODES, SERVICE, Which},
    script,
    steps::{Steps, show},
    writer::Writer,
};

/// Writes before the kill, so that what is measured is a cluster at work.
const WRITES_BEFORE: usize = 20;
/// Acknowledged writes after the kill until the outage is over: one may have been on its way back at the kill. Few, so
/// that the node is back before its lease has run out.
const WRITES_AFTER: usize = 5;
/// For all three nodes to be up.
const ALL_UP_MAX: Duration = Duration::from_secs(60);
/// A cluster's lease unless set otherwise: who is away for longer has its tasks replaced.
const LEASE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);

/// Returns when the leader had died.
pub(super) async fn lose(cluster: &mut Cluster, clients: &mut Clients, steps: &mut Steps) -> anyhow::Result<Instant> {
    let leader = cluster.leader(0).await?;
    let others: Vec<usize> = (0..NODES).filter(|number| *number != leader).collect();
    let through = others[0];
    let name = cluster.nodes[leader].name.clone();
    let names = others.iter().map(|number| cluster.nodes[*number].name.as_str()).collect::<Vec<_>>().join(" and ");
    let containers = cluster.containers(Which::Running).await?;

    say!("\n{name} leads. its clients end here, since nobody answers at its port while its daemon is dead;");
    say!("those of {names} go on, and one more client writes through {}:", cluster.nodes[through].name);
    say!("`muster node update --label-add demo.turn=N self`, one write after the other");
    clients.end(leader).await;
    let mut writer = Writer::open(&cluster.nodes[through].host()).await?;
    writer.write_while(|acknowledged| acknowledged.len() < WRITES_BEFORE).await?;

    let pid = cluster.nodes[leader].pid().unwrap_or_default();
    steps.next(&name, &format!("kill -9 {pid}   (the daemon)"));
    let before = clients.tally();
    let died = kill_under_writes(cluster, leader, &mut writer).await?;
    let gap = writer.longest_gap();
    let next = cluster.leader(through).await?;
    let (after, next) = (clients.tally(), &cluster.nodes[next].name);
    steps.done(&format!("no write was accepted for {} ms; now {next} leads", gap.as_millis()));
    say!(
        "  {} writes, 0 failed; {} requests to {names} meanwhile, {} failed",
        writer.count(),
        after.requests - before.requests,
        after.failed - before.failed
    );

    steps.next(&name, "muster daemon");
    cluster.nodes[leader].start().await?;
    script::first_answer(cluster, leader).await?;
    let away = died.elapsed();
    all_up(cluster, through).await?;
    clients.begin(cluster, leader);
    steps.done(&format!("back after {:.2} s, and so are its clients", away.as_secs_f64()));

    let other = &cluster.nodes[through];
    steps.next(&other.name, "muster node ls");
    show(&other.muster(&["node", "ls"]).await?);
    steps.next(&other.name, &format!("muster service ps --filter desired-state=running {SERVICE}"));
    show(&other.muster(&["service", "ps", "--filter", "desired-state=running", SERVICE]).await?);
    let same = cluster.containers(Which::Running).await?.intersection(&containers).count();
    match containers.len() - same {
        0 => steps.done(&format!("the same {same} containers as before")),
        // On a machine so busy that a daemon takes seconds to start, that is what a cluster should do.
        replaced if away > LEASE => {
            let replaced = counted(replaced, "container");
            steps.done(&format!("{replaced} replaced: the node was away for longer than its lease of {LEASE:?}"));
        }
        replaced => bail!("{} ended, though their node was away for {away:?} only", counted(replaced, "container")),
    }
    Ok(died)
}

/// Kills it while the writer goes on, and lets that go on until writes are accepted again.
async fn kill_under_writes(cluster: &mut Cluster, leader: usize, writer: &mut Writer) -> anyhow::Result<Instant> {
    let died = Cell::new(None);
    let writing = writer.write_while(|acknowledged| match died.get() {
        None => true,
        Some(died) => acknowledged.iter().filter(|at| **at > died).count() < WRITES_AFTER,
    });
    let killing = async {
        cluster.nodes[leader].kill().await?;
        died.set(Some(Instant::now()));
        Ok(())
    };
    tokio::try_join!(writing, killing)?;
    Ok(died.get().unwrap_or_else(Instant::now))
}

/// Until a node says that all are ready and all managers reachable.
pub(super) async fn all_up(cluster: &Cluster, ask: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let shown = cluster.nodes[ask].muster(&["node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}"]).await?;
        let up = shown.lines().filter(|line| ["Ready Leader", "Ready Reachable"].contains(line)).count();
        if up == NODES && shown.contains("Leader") {
            return Ok(());
        }
        if began.elapsed() > ALL_UP_MAX {
            bail!("not all nodes were up within {ALL_UP_MAX:?}:\n{shown}");
        }
        tokio::time::sleep(POLL).await;
    }
}
