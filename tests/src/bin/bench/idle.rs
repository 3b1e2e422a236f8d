//! What a daemon costs that has nothing to do: resident memory and share of a core, by the kernel's own accounts.

use std::{fs, thread, time::Duration};

use anyhow::Context;
use muster_tests::{
    daemon::{Daemon, Engine},
    engine::Images,
};

use crate::spread;

const WINDOW: Duration = Duration::from_secs(1);
/// Let the start's own work end before measuring.
const SETTLE: Duration = Duration::from_secs(3);
/// Of a jiffy in /proc/PID/stat: USER_HZ is 100 on every Linux port we build for.
const JIFFIES_PER_SECOND: f64 = 100.0;

pub(crate) fn run(program: &str, windows: u32) -> anyhow::Result<()> {
    let daemon = Daemon::cluster(program, Engine::Docker);
    println!("idle, manager and agent, no service");
    measure(&daemon, windows)?;
    let images = Images::make(&["1.0.0"]);
    daemon.ok(&["service", "create", "--quiet", "--name", "idle", "--replicas", "3", &images.name("1.0.0")]);
    println!("idle, with 3 running replicas");
    measure(&daemon, windows)
}

fn measure(daemon: &Daemon, windows: u32) -> anyhow::Result<()> {
    thread::sleep(SETTLE);
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..windows {
        let before = jiffies(daemon)?;
        thread::sleep(WINDOW);
        let used = (jiffies(daemon)? - before) / JIFFIES_PER_SECOND;
        cpu.push(used / WINDOW.as_secs_f64() * 100.0);
        memory.push(resident_mib(daemon)?);
    }
    let mean = cpu.iter().sum::<f64>() / f64::from(windows.max(1));
    println!("  resident    {}", spread(&memory, "MiB"));
    println!("  processor   {}  (mean {mean:.2} % of a core)", spread(&cpu, "%"));
    Ok(())
}

/// User and system time so far.
fn jiffies(daemon: &Daemon) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid()))?;
    // The second field may hold spaces and ends at the last parenthesis; utime and stime are fields 14 and 15.
    let after = stat.rsplit_once(')').context("an unknown shape of /proc/PID/stat")?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    Ok(fields[11].parse::<f64>()? + fields[12].parse::<f64>()?)
}

pub(crate) fn resident_mib(daemon: &Daemon) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/PID/status")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
}
