//! `muster service inspect`.

use super::pretty;
use crate::{
    context::{Context, Each},
    error::Error,
    format::inspect::InspectFlags,
    view,
};

/// Show services in full
///
/// JSON in the shape of the Docker Engine API by default: durations in nanoseconds, memory in bytes, cpu in billionths of
/// a core.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service inspect web
  muster service inspect --pretty web
  muster service inspect --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}' web
  muster service inspect --format '{{json .UpdateStatus}}' web")]
pub struct Args {
    #[command(flatten)]
    pub shape: InspectFlags,
    /// Names or ids of services
    #[arg(required = true, value_name = "SERVICE")]
    pub services: Vec<String>,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let mut each = Each::default();
    let (mut objects, mut people) = (Vec::new(), Vec::new());
    for service in &args.services {
        match daemon.service(service).await {
            Ok(service) => {
                objects.push(view::service::service(&service));
                people.push(pretty::text(&service, context.surroundings.now()));
            }
            Err(error) => each.note(Err(error), context.out)?,
        }
    }
    args.shape.print(objects, &people, context.out)?;
    each.outcome()
}
