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
mod fault;
mod history;
pub mod hosts;
pub mod kill_daemon;
pub mod managers;
mod model;
mod options;
mod report;
mod trio;
mod workload;
mod writers;

pub use options::Options;

use std::path::Path;

use anyhow::Context;

/// Judges a history that an earlier run wrote, and prints the verdict. Whether the cluster kept its word.
pub fn check(history: &Path) -> anyhow::Result<bool> {
    let file = std::fs::File::open(history).with_context(|| format!("cannot open {}", history.display()))?;
    let verdict = check::check(&history::read(file)?);
    println!("{}", report::verdict(&verdict));
    Ok(verdict.violations.is_empty())
}
