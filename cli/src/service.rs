//! `muster service …`: one file for each command.

pub mod create;
pub mod inspect;
pub mod logs;
pub mod ls;
pub mod pretty;
pub mod ps;
pub mod rm;
pub mod rollback;
pub mod scale;
pub mod tasks;
pub mod update;
pub mod wait_flags;

use clap::Subcommand;

use crate::{context::Context, error::Error};

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Create a service
    Create(Box<create::Args>),
    /// Show services in full
    Inspect(inspect::Args),
    /// Show the output of a service's or a task's containers
    Logs(logs::Args),
    /// List services
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    /// List the tasks of services
    Ps(ps::Args),
    /// Remove services and their containers
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    /// Go back to a service's previous spec
    Rollback(rollback::Args),
    /// Change the number of replicas
    Scale(scale::Args),
    /// Change a service
    Update(Box<update::Args>),
}

pub async fn run(command: Command, context: &mut Context<'_>) -> Result<(), Error> {
    match command {
        Command::Create(args) => create::run(*args, context).await,
        Command::Inspect(args) => inspect::run(args, context).await,
        Command::Logs(args) => logs::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Ps(args) => ps::run(args, context).await,
        Command::Rm(args) => rm::run(args, context).await,
        Command::Rollback(args) => rollback::run(args, context).await,
        Command::Scale(args) => scale::run(args, context).await,
        Command::Update(args) => update::run(*args, context).await,
    }
}
