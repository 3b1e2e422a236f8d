//! What every run is told, and what follows from it.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How often something is struck while clients write
    #[arg(long, default_value_t = 20)]
    pub rounds: u32,
    /// Clients that write at the same time
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub clients: u32,
    /// Decides what is written and what is struck when (default: a random one, which is printed)
    #[arg(long)]
    pub seed: Option<u64>,
    /// The binary under test (default: `muster` beside this one)
    #[arg(long, value_name = "PATH")]
    pub muster: Option<PathBuf>,
    /// Keep the history, the daemons' logs and their data when all is well too
    #[arg(long)]
    pub keep: bool,
}

impl Options {
    /// With its whole path.
    pub(crate) fn binary(&self) -> anyhow::Result<PathBuf> {
        let binary = match &self.muster {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("muster"),
        };
        ensure!(
            binary.is_file(),
            "there is no {}; build it with `cargo build`, or name it with --muster",
            binary.display()
        );
        match binary.canonicalize() {
            Ok(binary) => Ok(binary),
            Err(error) => bail!("cannot resolve {}: {error}", binary.display()),
        }
    }

    /// The command line that brings the same pressure again.
    pub(crate) fn replay(&self, subcommand: &str, seed: u64, binary: &std::path::Path) -> String {
        let (rounds, clients, binary) = (self.rounds, self.clients, binary.display());
        format!("muster-chaos {subcommand} --rounds {rounds} --clients {clients} --seed {seed} --muster {binary}")
    }
}

/// Returns when this process is asked to end.
pub(crate) async fn told_to_stop() {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        },
        // Without signals there is nobody to be told by.
        (Err(_), _) | (_, Err(_)) => std::future::pending().await,
    }
}
