//! `muster service rm`.

use muster_proto::v1;

use crate::{
    connect::Daemon,
    context::{Context, Each},
    error::Error,
};

/// Remove services and their containers
///
/// The name and the published ports are free at once; containers stop in the background, each within its stop grace
/// period. Volumes stay.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service rm web
  muster service rm web worker")]
pub struct Args {
    /// Names or ids of services
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let mut each = Each::default();
    for service in &args.services {
        let outcome = match remove(&daemon, service).await {
            Ok(()) => context.out.line(service),
            Err(error) => Err(error),
        };
        each.note(outcome, context.out)?;
    }
    each.outcome()
}

async fn remove(daemon: &Daemon, service: &str) -> Result<(), Error> {
    let id = daemon.service(service).await?.id;
    daemon.control().remove_service(v1::RemoveServiceRequest { id }).await?;
    Ok(())
}
