//! `muster cluster …`: the settings that hold for the cluster as a whole.

pub mod inspect;
pub mod update;

use clap::Subcommand;
use muster_proto::v1;

use crate::{
    connect::Daemon,
    context::Context,
    error::Error,
    object::{self, Cluster},
};

/// Each command's help stands with its flags.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    Inspect(inspect::Args),
    Update(update::Args),
}

pub async fn run(command: Command, context: &mut Context<'_>) -> Result<(), Error> {
    match command {
        Command::Inspect(args) => inspect::run(args, context).await,
        Command::Update(args) => update::run(args, context).await,
    }
}

impl Daemon {
    pub async fn cluster(&self) -> Result<Cluster, Error> {
        let answer = self.control().get_cluster(v1::GetClusterRequest {}).await?.into_inner();
        object::Cluster::try_from(answer)
    }
}
