//! The command line of the chaos runs.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use muster_chaos::kill_daemon;

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
        Command::Check { history } => muster_chaos::check(&history),
    }
}
