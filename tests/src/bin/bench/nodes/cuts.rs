//! What short cuts of one host's network restart: of tasks that may run on in isolation, and of those that must not.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{AFTER_CUT, Field, HOSTS, MANAGERS, SERVICE, SINGLE};

/// Tasks of each kind that ran before and do not afterwards, of one cut.
struct Restarts {
    ordinary: usize,
    single: usize,
}

pub(super) fn measure(field: &Field, rounds: usize, spans: &[Duration]) -> anyhow::Result<()> {
    for span in spans {
        let mut by_role = BTreeMap::<&str, Vec<Restarts>>::new();
        for round in 0..rounds {
            let host = round % HOSTS;
            let role = match host {
                host if host == field.cluster.leader() => "the leader's host",
                host if host < MANAGERS => "a follower's host",
                _ => "a worker's host",
            };
            by_role.entry(role).or_default().push(field.short_cut(host, *span)?);
        }
        println!("a node cut off for {:.1} s, tasks that were replaced or restarted", span.as_secs_f64());
        for (role, restarts) in by_role {
            let cuts = restarts.len();
            let hit = restarts.iter().filter(|cut| cut.ordinary + cut.single > 0).count();
            let ordinary: usize = restarts.iter().map(|cut| cut.ordinary).sum();
            let single: usize = restarts.iter().map(|cut| cut.single).sum();
            println!("  {role:17}  {hit} of {cuts} cuts: {ordinary} ordinary, {single} that stop in isolation");
        }
    }
    Ok(())
}

impl Field {
    fn short_cut(&self, host: usize, span: Duration) -> anyhow::Result<Restarts> {
        let ask = (0..MANAGERS).find(|manager| *manager != host).context("another manager")?;
        let before = self.listed(ask)?;
        self.hosts.cut_for(host, span);
        thread::sleep(AFTER_CUT);
        let after = self.listed(ask)?;
        let lost = |service: &str| before.difference(&after).filter(|placed| placed.service == service).count();
        let restarts = Restarts { ordinary: lost(SERVICE), single: lost(SINGLE) };
        if restarts.ordinary + restarts.single > 0 {
            self.settle(before.len())?;
        }
        Ok(restarts)
    }

    /// Seconds from the end of a cut that outlasted the lease until nothing runs on the host that was replaced meanwhile.
    pub(super) fn surplus(&self, host: usize) -> anyhow::Result<f64> {
        let (node, ask) = (self.cluster[host].node_id(), (host + 1) % MANAGERS);
        let surplus = self.containers(host)?;
        self.hosts.cut(host);
        self.wait("the replicas to run elsewhere", || {
            self.running(ask, Some(&node)).is_some_and(|running| running.len() == self.replicas)
        })?;
        self.hosts.heal(host);
        let healed = Instant::now();
        self.wait("the surplus to stop", || {
            self.containers(host).is_ok_and(|running| running.intersection(&surplus).next().is_none())
        })?;
        Ok(healed.elapsed().as_secs_f64())
    }
}
