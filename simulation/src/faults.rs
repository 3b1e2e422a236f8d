//! What goes wrong, drawn from the seed: one thing after another, several at once.

use std::time::Duration;

use crate::{chance::Chance, cluster::Cluster, disk::Health, network::Weather};

/// Up to which a host's clock is wrong.
const SKEW_MS_MAX: u64 = 40_000;

/// Each host by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill(usize),
    /// Power fails in the middle of what the disk does, so many writes and syncs from now.
    KillInWrite(usize, u64),
    /// Once it has given its next vote.
    KillAfterVote(usize),
    KillAll,
    Start(usize),
    Stop(usize),
    Pause(usize),
    Resume(usize),
    /// Hosts with their bit set cannot talk to those without.
    Split(u64),
    /// From, to.
    CutOneWay(usize, usize),
    Mend,
    Weather(Weather),
    Disk(usize, Health),
    /// Disks that hold the same fill together.
    AllFull,
    Skew(usize, i64),
    /// Power fails, and something of what was durable goes bad. Such a host is out until the faults end.
    Damage(usize),
    /// The leader asks this one to take over.
    HandOver(usize),
}

/// The next fault, and how long until the one after it.
#[must_use]
pub fn draw(chance: &Chance, hosts: usize) -> (Fault, Duration) {
    let pause = if chance.permille(300) { chance.millis(0..50) } else { chance.millis(50..900) };
    let host = || usize::try_from(chance.below(hosts as u64)).unwrap_or(0);
    let fault = match chance.below(100) {
        0..9 => Fault::Kill(host()),
        9..12 => Fault::KillAfterVote(host()),
        12..18 => Fault::KillInWrite(host(), chance.within(1..60)),
        18..20 => Fault::KillAll,
        20..39 => Fault::Start(host()),
        39..43 => Fault::Stop(host()),
        43..49 => Fault::Pause(host()),
        49..57 => Fault::Resume(host()),
        57..64 => Fault::Split(chance.within(1..1 << hosts)),
        64..70 => Fault::CutOneWay(host(), host()),
        70..79 => Fault::Mend,
        79..84 => Fault::Weather(Weather {
            loss_permille: chance.within(0..200),
            twice_permille: chance.within(0..100),
            delay_ms_max: chance.within(1..120),
        }),
        84..86 => Fault::Weather(Weather::FAIR),
        86..88 => Fault::Disk(host(), Health::Slow(chance.millis(10..400))),
        88..89 => Fault::Disk(host(), Health::Failing),
        89..90 => Fault::Disk(host(), Health::Full),
        90..91 => Fault::AllFull,
        91..92 => Fault::Disk(host(), Health::Good),
        92..94 => Fault::Skew(host(), skew(chance)),
        94..96 => Fault::Damage(host()),
        _ => Fault::HandOver(host()),
    };
    (fault, pause)
}

fn skew(chance: &Chance) -> i64 {
    let skew = i64::try_from(chance.below(2 * SKEW_MS_MAX)).unwrap_or(0);
    skew - i64::try_from(SKEW_MS_MAX).unwrap_or(0)
}

impl Cluster {
    pub fn inject(&mut self, fault: Fault) {
        self.bury();
        self.world.trace.event(format_args!("fault: {fault:?}"));
        match fault {
            Fault::Kill(host) => self.hosts[host].kill(),
            Fault::KillInWrite(host, steps) => {
                if let Some(life) = self.hosts[host].life() {
                    life.disk.lose_power_after(steps);
                }
            }
            Fault::KillAfterVote(host) => {
                self.hosts[host].life().into_iter().for_each(|life| life.process.die_after_vote());
            }
            Fault::KillAll => self.hosts.iter_mut().for_each(crate::host::Host::kill),
            Fault::Start(host) => {
                if self.hosts[host].life().is_none() {
                    self.hosts[host].start(muster_manager::Start::Member);
                }
            }
            Fault::Stop(host) => self.hosts[host].stop(),
            Fault::Pause(host) => self.hosts[host].life().into_iter().for_each(|life| life.process.pause()),
            Fault::Resume(host) => self.hosts[host].life().into_iter().for_each(|life| life.process.resume()),
            Fault::Split(side) => self.split(side),
            Fault::CutOneWay(from, to) => self.world.network.cut(self.hosts[from].raft_id, self.hosts[to].raft_id),
            Fault::Mend => self.world.network.mend(),
            Fault::Weather(weather) => self.world.network.set_weather(weather),
            Fault::Disk(host, health) => {
                self.hosts[host].life().into_iter().for_each(|life| life.disk.set_health(health));
            }
            Fault::AllFull => {
                for life in self.hosts.iter().filter_map(crate::host::Host::life) {
                    life.disk.set_health(Health::Full);
                }
            }
            Fault::Skew(host, skew_ms) => self.hosts[host].clock.set(skew_ms),
            Fault::Damage(host) => {
                self.hosts[host].kill();
                self.hosts[host].damage();
            }
            Fault::HandOver(host) => self.hand_over(host),
        }
    }

    fn split(&self, side: u64) {
        let inside = |raft_id: u64| side & (1 << (raft_id - 1)) != 0;
        for from in &self.hosts {
            for to in self.hosts.iter().filter(|to| inside(from.raft_id) != inside(to.raft_id)) {
                self.world.network.cut(from.raft_id, to.raft_id);
            }
        }
    }

    fn hand_over(&self, host: usize) {
        let (raft_id, trace) = (self.hosts[host].raft_id, self.world.trace.clone());
        if let Some(leader) = self.leader() {
            tokio::spawn(async move {
                let asked = leader.members().hand_over(raft_id).await.map_err(|why| why.to_string());
                trace.event(format_args!("{raft_id}: asked to take over: {asked:?}"));
            });
        }
    }

    /// Nothing goes wrong from here on.
    pub fn end_faults(&mut self) {
        self.world.trace.event(format_args!("the faults end"));
        self.world.network.mend();
        self.world.network.set_weather(Weather::FAIR);
        for host in &self.hosts {
            if let Some(life) = host.life() {
                life.disk.set_health(Health::Good);
                life.disk.lose_power_after(0);
                life.process.live_on_after_vote();
                life.process.resume();
            }
        }
        self.hosts.iter_mut().for_each(crate::host::Host::repair);
        self.start_all();
    }
}
