//! The figures of the README, measured on this machine. Run by hand, in release:
//! `cargo build --release -p muster-tests --bins && target/release/bench [idle|converge|commands|failover|hop|writes|memory|nodes]`.
//!
//! It prints distributions and ratios and judges nothing. It needs a machine that does nothing else, Docker Engine for
//! what runs containers, root for `nodes`, and etcd for `writes` to have something to compare with.

mod api;
mod commands;
mod converge;
mod etcd;
mod failover;
mod hop;
mod idle;
mod memory;
mod nodes;
mod service;
mod writes;

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Memory and processor time of a daemon with nothing to do
    Idle {
        /// Windows of one second to measure
        #[arg(long, default_value_t = 20)]
        windows: u32,
    },
    /// A service of so many replicas, beside the engine alone starting as many containers eight at a time
    Converge {
        #[arg(long, default_value_t = 50)]
        replicas: usize,
        /// Pairs of runs
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Single commands from end to end
    Commands {
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Three managers: how long no write is accepted when the leader is killed, and when it stops
    Failover {
        #[arg(long, default_value_t = 50, value_parser = bounded(0, 1000))]
        kills: u64,
        /// Times that the leader stops in an orderly way
        #[arg(long, default_value_t = 20, value_parser = bounded(0, 1000))]
        hand_overs: u64,
    },
    /// Two nodes: requests to a task through its own node, and through the other
    Hop {
        #[arg(long, default_value_t = 4, value_parser = bounded(1, 512))]
        clients: u64,
        /// Of one turn
        #[arg(long, default_value_t = 3, value_parser = bounded(1, 600))]
        seconds: u64,
        /// Turns of each
        #[arg(long, default_value_t = 3, value_parser = bounded(1, 50))]
        rounds: u64,
    },
    /// Three managers: acknowledged writes per second, beside three members of etcd
    Writes {
        #[arg(long, default_value_t = 64, value_parser = bounded(1, 512))]
        clients: u64,
        #[arg(long, default_value_t = 256, value_parser = bounded(8, 4096))]
        value_bytes: u64,
        /// Of one run
        #[arg(long, default_value_t = 10, value_parser = bounded(1, 600))]
        seconds: u64,
        /// Runs of each, in turns
        #[arg(long, default_value_t = 3, value_parser = bounded(1, 50))]
        rounds: u64,
    },
    /// Three managers: resident memory, with nothing and with a long history, and how soon one serves again
    Memory {
        /// Services of that history
        #[arg(long, default_value_t = 10_000, value_parser = bounded(1, 20_000))]
        services: u64,
        /// Finished tasks of each
        #[arg(long, default_value_t = 10, value_parser = bounded(1, 100))]
        tasks: u64,
    },
    /// Five hosts with an engine each: a worker and the leader's host without power, short cuts, a removal, an update, a
    /// join
    Nodes {
        /// Of each power failure
        #[arg(long, default_value_t = 20, value_parser = bounded(0, 200))]
        rounds: u64,
        /// Cuts of each length: the hosts in turn
        #[arg(long, default_value_t = 20, value_parser = bounded(0, 200))]
        cuts: u64,
        /// Their lengths in milliseconds
        #[arg(long, value_delimiter = ',', default_value = "2000")]
        cut_ms: Vec<u64>,
        #[arg(long, default_value_t = 20, value_parser = bounded(0, 200))]
        updates: u64,
        /// Of the service that runs meanwhile
        #[arg(long, default_value_t = 10, value_parser = bounded(1, 100))]
        replicas: u64,
    },
}

fn bounded(least: u64, most: u64) -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(least..=most)
}

fn size(number: u64) -> usize {
    usize::try_from(number).expect("the flags are bounded")
}

fn main() -> anyhow::Result<()> {
    let program = program()?;
    match Args::parse().what {
        Some(What::Idle { windows }) => idle::run(&program, windows)?,
        Some(What::Converge { replicas, rounds }) => converge::run(&program, replicas, rounds)?,
        Some(What::Commands { rounds }) => commands::run(&program, rounds),
        Some(What::Failover { kills, hand_overs }) => failover::run(&program, size(kills), size(hand_overs))?,
        Some(What::Hop { clients, seconds, rounds }) => {
            hop::run(&program, hop::Size { clients: size(clients), seconds, rounds: size(rounds) })?;
        }
        Some(What::Writes { clients, value_bytes, seconds, rounds }) => {
            let (clients, value_bytes, rounds) = (size(clients), size(value_bytes), size(rounds));
            writes::run(&program, writes::Size { clients, value_bytes, seconds, rounds })?;
        }
        Some(What::Memory { services, tasks }) => memory::run(&program, size(services), size(tasks))?,
        Some(What::Nodes { rounds, cuts, cut_ms, updates, replicas }) => {
            let rounds = nodes::Rounds { power: size(rounds), cuts: size(cuts), updates: size(updates) };
            let cut_spans: Vec<Duration> = cut_ms.into_iter().map(Duration::from_millis).collect();
            nodes::run(&program, rounds, size(replicas), &cut_spans)?;
        }
        None => {
            idle::run(&program, 20)?;
            converge::run(&program, 50, 3)?;
            commands::run(&program, 3);
        }
    }
    Ok(())
}

/// The binary under test: cargo builds it into the same folder as this one.
fn program() -> anyhow::Result<String> {
    let folder = std::env::current_exe()?.parent().context("a program has a folder")?.to_owned();
    let program: PathBuf = folder.join("muster-under-test");
    anyhow::ensure!(
        program.exists(),
        "{} is not built; run `cargo build --release -p muster-tests --bins` first",
        program.display()
    );
    Ok(program.display().to_string())
}

/// `min / median / max` of some figures.
fn spread(figures: &[f64], unit: &str) -> String {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(min), Some(median), Some(max)) => format!("min {min:.2}  median {median:.2}  max {max:.2} {unit}"),
        _ => "nothing measured".to_owned(),
    }
}

/// With the tail, of many figures.
fn distribution(figures: &[f64], unit: &str) -> String {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: usize| sorted.get((sorted.len() * part / 100).min(sorted.len().saturating_sub(1)));
    match (at(0), at(50), at(90), at(99), sorted.last()) {
        (Some(min), Some(p50), Some(p90), Some(p99), Some(max)) => format!(
            "min {min:.1}  p50 {p50:.1}  p90 {p90:.1}  p99 {p99:.1}  max {max:.1} {unit}  ({} times)",
            sorted.len()
        ),
        _ => "nothing measured".to_owned(),
    }
}
