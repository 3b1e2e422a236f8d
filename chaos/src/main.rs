//! Faults on real Muster processes. Each subcommand starts what it needs in a folder of its own, disturbs it, writes
//! down what a client was told, and lets [`check`] judge whether the cluster kept its word.
//!
//! A seed decides what clients write and when faults strike; the processes themselves run freely, so the same seed
//! gives the same pressure and not the same interleaving. The history is what replays exactly: `check FILE`.
//!
//! Deliberately not known here: anything about Muster but its command line.

mod check;
mod cli;
mod daemon;
mod history;
mod kill_daemon;
mod model;
mod report;
mod workload;

use std::{fs::File, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "muster-chaos",
    about = "faults on real muster processes, and a check that nothing acknowledged was lost"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill a daemon with SIGKILL at random moments while clients write through it
    KillDaemon(kill_daemon::Options),
    /// Judge a history that an earlier run wrote
    Check {
        /// The run's history.jsonl
        history: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("muster-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the cluster kept its word.
fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::KillDaemon(options) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(kill_daemon::run(&options))
        }
        Command::Check { history } => {
            let file = File::open(&history).with_context(|| format!("cannot open {}", history.display()))?;
            let verdict = check::check(&history::read(file)?);
            println!("{}", report::verdict(&verdict));
            Ok(verdict.violations.is_empty())
        }
    }
}
