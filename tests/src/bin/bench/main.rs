//! The figures of the README, measured on this machine. Run by hand, in release:
//! `cargo build --release -p muster-tests --bins && target/release/bench [idle|converge|commands]`.
//!
//! It prints distributions and ratios and judges nothing. It needs Docker Engine, and a machine that does nothing else.

mod commands;
mod converge;
mod idle;
mod service;

use std::path::PathBuf;

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
}

fn main() -> anyhow::Result<()> {
    let program = program()?;
    match Args::parse().what {
        Some(What::Idle { windows }) => idle::run(&program, windows)?,
        Some(What::Converge { replicas, rounds }) => converge::run(&program, replicas, rounds)?,
        Some(What::Commands { rounds }) => commands::run(&program, rounds),
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
