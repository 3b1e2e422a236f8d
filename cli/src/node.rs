//! `muster node …`.

pub(crate) mod change;
mod departure;
mod drain;
pub mod inspect;
pub mod ls;
pub mod ps;
pub mod rm;
pub mod role;
pub mod update;

use clap::Subcommand;
use muster_proto::{node::NodeState, time::Timestamp, v1};

use crate::{
    connect::Daemon,
    context::Context,
    error::Error,
    format::text::ago,
    object::{self, Node},
};

/// The node whose daemon is asked, in place of its id.
const SELF: &str = "self";

/// Each command's help stands with its flags.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    Demote(role::DemoteArgs),
    Inspect(inspect::Args),
    #[command(visible_alias = "list")]
    Ls(ls::Args),
    Promote(role::PromoteArgs),
    Ps(ps::Args),
    #[command(visible_alias = "remove")]
    Rm(rm::Args),
    Update(update::Args),
}

pub async fn run(command: Command, context: &mut Context<'_>) -> Result<(), Error> {
    match command {
        Command::Demote(args) => role::demote(args, context).await,
        Command::Inspect(args) => inspect::run(args, context).await,
        Command::Ls(args) => ls::run(args, context).await,
        Command::Promote(args) => role::promote(args, context).await,
        Command::Ps(args) => ps::run(args, context).await,
        Command::Rm(args) => rm::run(args, context).await,
        Command::Update(args) => update::run(args, context).await,
    }
}

/// What the leader knows of the last heartbeat: one that has just begun has heard none of a node that was down before.
fn last_seen(node: &Node, now: Timestamp) -> String {
    match (node.last_seen, node.state) {
        (Some(at), _) => ago(at, now),
        (None, NodeState::Down) => "not by this leader".to_owned(),
        (None, NodeState::Ready | NodeState::Unknown) => String::new(),
    }
}

impl Daemon {
    /// By hostname, id, a prefix of an id, or `self`.
    pub async fn node(&self, node: &str) -> Result<Node, Error> {
        let asked = if node == SELF { self.own_node_id().await? } else { Some(node.to_owned()) };
        let asked = asked.ok_or_else(|| {
            Error::Failed(
                "this host is in no cluster; start one with `muster init`, or join one with `muster join`".to_owned(),
            )
        })?;
        let answer = self.control().get_node(v1::GetNodeRequest { node: asked }).await?.into_inner();
        answer.node.ok_or_else(|| object::missing("the node"))?.try_into()
    }

    /// None when this host is in no cluster.
    pub async fn own_node_id(&self) -> Result<Option<String>, Error> {
        let answer = self.local().info(v1::InfoRequest { state_digest: false }).await?.into_inner();
        Ok(answer.membership.map(|membership| membership.node_id))
    }
}
