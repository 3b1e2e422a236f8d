//! `muster service …`: one file for each command.

pub mod create;
mod failures;
pub mod inspect;
pub mod logs;
pub mod ls;
pub mod pause;
pub mod pretty;
pub mod promote;
pub mod ps;
pub mod resume;
pub mod rm;
pub mod rollback;
pub mod scale;
mod steer;
pub mod tasks;
pub mod update;
pub mod wait_flags;

use clap::Subcommand;

use crate::{context::Context, error::Error};

/// Each command's help stands with its flags.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    Create(Box<create::Args>),
    Inspect(inspect::Args),
    Logs(logs::Args),
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    Pause(pause::Args),
    Promote(promote::Args),
    Ps(ps::Args),
    Resume(resume::Args),
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    Rollback(rollback::Args),
    Scale(scale::Args),
    Update(Box<update::Args>),
}

pub async fn run(command: Command, context: &mut Context<'_>) -> Result<(), Error> {
    match command {
        Command::Create(args) => create::run(*args, context).await,
        Command::Inspect(args) => inspect::run(args, context).await,
        Command::Logs(args) => logs::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Pause(args) => pause::run(args, context).await,
        Command::Promote(args) => promote::run(args, context).await,
        Command::Resume(args) => resume::run(args, context).await,
        Command::Ps(args) => ps::run(args, context).await,
        Command::Rm(args) => rm::run(args, context).await,
        Command::Rollback(args) => rollback::run(args, context).await,
        Command::Scale(args) => scale::run(args, context).await,
        Command::Update(args) => update::run(*args, context).await,
    }
}
