//! `muster recover`.

use muster_proto::{node::Role, v1};

use crate::{
    context::Context, error::Error, format::text::counted, join_token, surroundings::Surroundings, terminal::Echo,
};

/// Go on alone, from what this manager has, after most managers were lost
///
/// For when too few managers are left to decide anything and those that are missing will not come back. This one makes
/// a cluster of which it is the only manager, from its own copy: what it had not been told of is lost. Nodes and their
/// containers are kept. Managers of before that return are refused as managers: they go on as workers, until they are
/// promoted again.
///
/// Run it on one manager only, on the one that knows most: `muster info --state-digest` shows how far each has come.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster recover
  muster recover --yes --advertise-addr 10.0.0.9")]
pub struct Args {
    /// Also while most managers answer, which then are cut off from their own cluster
    #[arg(short, long)]
    pub force: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Where other nodes reach this one now, as HOST or HOST:PORT (default: as before)
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    pub advertise_addr: String,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    if !args.yes {
        confirm(context.surroundings)?;
    }
    let request = v1::RecoverRequest { force: args.force, advertise_addr: args.advertise_addr };
    let recovered = daemon.local().recover(request).await?.into_inner();
    context.out.line(format_args!(
        "cluster {} goes on with {}: this node is its only manager (incarnation {})",
        recovered.cluster_id,
        counted(recovered.services as usize, "service"),
        recovered.incarnation
    ))?;
    if !recovered.former_managers.is_empty() {
        context.out.line(format_args!(
            "\nmanagers of before are managers no more: {}\neach that returns goes on as a worker; make it a manager again \
             with `muster node promote`",
            recovered.former_managers.join(", ")
        ))?;
    }
    join_token::tell(&daemon, Role::Manager, context).await
}

fn confirm(surroundings: &dyn Surroundings) -> Result<(), Error> {
    let question = "every other manager will be shut out, and what only they know is lost; go on? [y/N] ";
    match surroundings.ask(question, Echo::Shown) {
        Ok(Some(answer)) if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) => Ok(()),
        Ok(Some(_)) => Err(Error::Failed("not confirmed, nothing was changed".to_owned())),
        Ok(None) => Err(Error::Usage(
            "there is no terminal to confirm on; say --yes where every other manager may be shut out".to_owned(),
        )),
        Err(error) => Err(Error::Failed(format!("cannot read the answer: {error}; say --yes instead"))),
    }
}
