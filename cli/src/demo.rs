//! `muster demo`.

/// The demo's flags.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("this build has no demo; build a later version")
}
