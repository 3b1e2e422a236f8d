//! `muster init`.

use muster_proto::{node::Role, v1};

use crate::{context::Context, error::Error, join_token};

/// Start a cluster with this host as its first manager
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster init
  muster init --advertise-addr 10.0.0.1")]
pub struct Args {
    /// Where other nodes reach this one, as HOST or HOST:PORT (default: the daemon's setting, else this host's address)
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    pub advertise_addr: String,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    let request = v1::InitRequest { advertise_addr: args.advertise_addr };
    let answer = daemon.local().init(request).await?.into_inner();
    context.out.line(format_args!(
        "cluster {} initialized: this node ({}) is its manager, at {}",
        answer.cluster_id, answer.node_id, answer.advertise_addr
    ))?;
    join_token::tell(&daemon, Role::Worker, context).await?;
    context.out.line(
        "to add a manager, run `muster join-token manager` here and do what it says\n\nstart a service with:\n\n    muster \
         service create --name web --replicas 3 -p 8000:8000 IMAGE",
    )
}
