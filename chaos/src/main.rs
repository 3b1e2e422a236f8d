//! The command line of the chaos runs.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use muster_chaos::{Options, kill_daemon, managers};

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
    KillDaemon(Options),
    /// Kill a random one of three managers while clients write through all of them
    KillManager(Options),
    /// Pause a random one of three managers, so that it goes on later where it was
    PauseManager(Options),
    /// Cut a random one of three managers off the network, wholly or in one direction; needs root
    Partition(Options),
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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::KillDaemon(options) => runtime.block_on(kill_daemon::run(&options)),
        Command::KillManager(options) => runtime.block_on(managers::run(managers::Kind::Kill, &options)),
        Command::PauseManager(options) => runtime.block_on(managers::run(managers::Kind::Pause, &options)),
        Command::Partition(options) => runtime.block_on(managers::run(managers::Kind::Partition, &options)),
        Command::Check { history } => muster_chaos::check(&history),
    }
}
