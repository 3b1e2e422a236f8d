//! `muster join`.

use muster_manager::ca::{InvalidToken, JoinToken};
use muster_proto::{
    node::{Availability, Role},
    parse, v1,
};

use crate::{context::Context, error::Error};

/// Make this host a node of a cluster
///
/// The token, which `muster join-token` prints on a manager, says as what, and by it this host recognises the cluster
/// before it sends anything. A join that failed leaves nothing behind; repeating one does no harm.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster join --token MST-1-… 10.0.0.1:7377
  muster join --token MST-1-… --advertise-addr 10.0.0.2 10.0.0.1:7377
  muster join --token MST-1-… --availability drain host1     a manager that runs no services")]
pub struct Args {
    /// What `muster join-token` prints on a manager
    #[arg(long, value_name = "TOKEN", value_parser = token)]
    pub token: String,
    /// Where other nodes reach this one, as HOST or HOST:PORT (default: the daemon's setting, else this host's address)
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub advertise_addr: Option<String>,
    /// active, pause or drain: whether it takes tasks from the start
    #[arg(long, value_name = "AVAILABILITY", default_value = "active", value_parser = parse::availability)]
    pub availability: Availability,
    /// Of any manager, as HOST or HOST:PORT
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub manager: String,
}

/// A slip of the pen is found out before anything is sent.
fn token(text: &str) -> Result<String, InvalidToken> {
    text.parse::<JoinToken>().map(|token| token.to_string())
}

/// As it was written; the daemon knows the port that is meant where there is none.
fn address(text: &str) -> Result<String, String> {
    match parse::address(text) {
        Ok(address) if address.port == Some(0) => {
            Err("port 0 is nobody's; write the port that the daemon there listens on, 7377 unless it was set"
                .to_owned())
        }
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let request = v1::JoinClusterRequest {
        token: args.token,
        address: args.manager,
        advertise_addr: args.advertise_addr.unwrap_or_default(),
        availability: v1::Availability::from(args.availability).into(),
    };
    let joined = daemon.local().join(request).await?.into_inner();
    let role = Role::try_from(joined.role()).map_err(|why| crate::object::unreadable("the role of this node", why))?;
    context.out.line(format_args!(
        "this node ({}) has joined cluster {} as a {role}, at {}",
        joined.node_id, joined.cluster_id, joined.advertise_addr
    ))?;
    match role {
        Role::Worker => {}
        Role::Manager => {
            if !joined.voter {
                context.out.note("it has no vote until it has caught up; `muster node ls` shows when it is Reachable");
            }
            if joined.managers % 2 == 0 {
                context.out.warn(&[even(joined.managers)]);
            }
        }
    }
    Ok(())
}

fn even(managers: u32) -> String {
    let fewer = managers.saturating_sub(1);
    format!(
        "{managers} managers withstand the loss of no more than {fewer} would; add one, or make one a worker with `muster \
         node demote`"
    )
}
