//! `muster daemon`.

/// The daemon's flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("this build has no daemon; build a later version")
}
