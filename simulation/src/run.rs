//! One run: a cluster forms, clients work while faults come, the faults end, the cluster heals, and everything is looked
//! at.

use std::time::Duration;

use muster_core::command::{Command, Outcome};
use muster_proto::id::ServiceId;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    agents,
    chance::Chance,
    clients::{self, Ledger},
    cluster::{Cluster, until},
    faults,
    host::{Host, World},
    invariants::{Invariants, acknowledged, log_matching},
    network::Network,
    trace::{Print, Trace},
};

/// The whole of a run's faults, in simulated time.
const FAULTS: Duration = Duration::from_secs(6);
/// From the end of the faults until the cluster takes writes again, and until all have all.
const HEAL_MAX: Duration = Duration::from_secs(30);
const CLIENTS: u64 = 3;

#[derive(Debug)]
pub struct Report {
    pub broken: Vec<String>,
    pub trace: (u64, u64),
    /// Writes asked for, writes acknowledged, reads answered.
    pub counts: (u64, u64, u64),
}

/// Everything from this seed, on the current runtime.
pub async fn run(seed: u64, print: Print) -> Report {
    let trace = Trace::new(print);
    let (invariants, ledger) = (Invariants::new(trace.clone()), Ledger::default());
    let network = Network::new(Chance::new(seed, "network"), trace.clone());
    let world = World { seed, network, trace: trace.clone(), invariants: invariants.clone() };
    let managers = if Chance::new(seed, "managers").permille(700) { 3 } else { 5 };
    match Cluster::form(world, managers).await {
        Ok(mut cluster) => {
            invariants.formed(managers);
            live_through_faults(&mut cluster, &ledger, seed).await;
            let healed = heal(&mut cluster, &ledger).await;
            invariants.check(healed);
        }
        Err(why) => invariants.check(Err(format!("the cluster does not form: {why}"))),
    }
    Report { broken: invariants.broken(), trace: trace.hash(), counts: ledger.counts() }
}

async fn live_through_faults(cluster: &mut Cluster, ledger: &Ledger, seed: u64) {
    let faults = Chance::new(seed, "faults");
    let end = Instant::now() + FAULTS;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push((Chance::new(seed, &format!("client {number}")), Instant::now()));
    }
    let (agents, mut agents_at) = (Chance::new(seed, "agents"), Instant::now());
    let mut fault_at = Instant::now() + faults.millis(0..300);
    while Instant::now() < end {
        let next = clients.iter().map(|(_, at)| *at).min().unwrap_or(end).min(fault_at).min(agents_at).min(end);
        sleep_until(next).await;
        cluster.bury();
        if next == fault_at {
            let (fault, pause) = faults::draw(&faults, cluster.hosts.len());
            cluster.inject(fault);
            invariants_of_logs(cluster);
            fault_at = next + pause;
        }
        if next == agents_at {
            // A session stays with whoever had it, also when somebody else leads by now.
            for (_term, leader) in cluster.believing() {
                let (chance, invariants) = (Chance::new(agents.draw(), "round"), cluster.world.invariants.clone());
                tokio::spawn(async move { agents::tend(&leader, &chance, &invariants).await });
            }
            agents_at = next + agents.millis(500..1_000);
        }
        for (chance, at) in clients.iter_mut().filter(|(_, at)| *at == next) {
            act(cluster, ledger, chance);
            *at = next + chance.millis(20..300);
        }
    }
}

/// A client's next step, which takes as long as it takes.
fn act(cluster: &Cluster, ledger: &Ledger, chance: &Chance) {
    let anyone = usize::try_from(chance.below(cluster.hosts.len() as u64)).unwrap_or(0);
    let leader = if chance.permille(800) { cluster.leader() } else { None };
    let Some(manager) = leader.or_else(|| cluster.hosts[anyone].handle()) else { return };
    let (ledger, trace, invariants) = (ledger.clone(), cluster.world.trace.clone(), cluster.world.invariants.clone());
    let step = Chance::new(chance.draw(), "step");
    tokio::spawn(async move {
        if step.permille(250) {
            let seen = clients::read(&manager, &ledger).await;
            invariants.check(seen);
        } else {
            clients::write(&manager, &ledger, &step, &trace).await;
        }
    });
}

async fn heal(cluster: &mut Cluster, ledger: &Ledger) -> Result<(), String> {
    cluster.end_faults();
    let healing = Instant::now() + HEAL_MAX;
    // Whoever was on its way down when the faults ended is started too.
    while !cluster.hosts.iter().all(|host| host.handle().is_some()) {
        if Instant::now() >= healing {
            return Err(format!("after the faults not every manager starts: {:?}", stages(cluster)));
        }
        sleep(crate::cluster::LOOK).await;
        cluster.start_all();
    }
    until("a write after the faults", HEAL_MAX, async || {
        let leader = cluster.leader()?;
        // Changes nothing, and takes its place in the log.
        let probe = leader.replica().propose(Command::RemoveService { id: ServiceId::from_bits(u128::MAX) }).await;
        matches!(probe, Ok(Outcome::Done { .. } | Outcome::Rejected(_))).then_some(())
    })
    .await?;
    until("all managers with the same state", HEAL_MAX, async || {
        cluster.start_all();
        let handles = cluster.hosts.iter().map(Host::handle).collect::<Option<Vec<_>>>()?;
        let mut applied = handles.iter().map(|handle| handle.replica().read(|state| state.applied().index));
        let first = applied.next()?;
        // A digest costs more than a look.
        if !applied.all(|other| other == first) {
            return None;
        }
        let mut digests = handles.iter().map(|handle| handle.replica().state_digest().ok());
        let first = digests.next()??;
        digests.all(|digest| digest.as_ref() == Some(&first)).then_some(())
    })
    .await?;
    let known = ledger.known();
    for host in &cluster.hosts {
        let handle = host.handle().ok_or("a manager ended after the faults")?;
        handle.replica().read(|state| acknowledged::found(host.raft_id, state, &known))?;
    }
    compare_logs(&cluster.hosts)
}

fn stages(cluster: &Cluster) -> Vec<(u64, String)> {
    let stage = |host: &Host| host.life().map(|life| format!("{:?}", life.stage()));
    cluster.hosts.iter().map(|host| (host.raft_id, stage(host).unwrap_or_else(|| "down".into()))).collect()
}

fn invariants_of_logs(cluster: &Cluster) {
    cluster.world.invariants.check(compare_logs(&cluster.hosts));
}

fn compare_logs(hosts: &[Host]) -> Result<(), String> {
    let logs: Vec<_> = hosts.iter().filter(|host| !host.is_damaged()).map(|host| (host.raft_id, host.log())).collect();
    for (place, (id, log)) in logs.iter().enumerate() {
        for (other, other_log) in &logs[..place] {
            log_matching::matching((*id, log), (*other, other_log))?;
        }
    }
    Ok(())
}
