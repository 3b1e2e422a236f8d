//! `muster join-token`, and the commands with which hosts join, for those that print them too.

use std::time::Duration;

use muster_proto::{node::Role, parse, time::Timestamp, trust::Token, v1};

use crate::{
    connect::Daemon,
    context::Context,
    error::Error,
    flags::{self, whole},
};

/// Show how a host joins the cluster, as a worker or as a manager
///
/// Prints the command to type there. Whoever has a token can join, so treat a manager's as you treat the root password.
/// Each role has one standing token; --rotate makes a new one and voids every earlier token of the role, which changes
/// nothing for nodes that have joined. With --ttl or --uses the token is a further one, which ends by itself.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster join-token worker
  muster join-token manager --ttl 1h --uses 1
  muster join --token $(ssh host1 muster join-token --quiet worker) host1:7377
  muster join-token worker --rotate")]
pub struct Args {
    /// Make a new token and void every earlier one of the role
    #[arg(long)]
    pub rotate: bool,
    /// Make a token that is good for this long
    #[arg(long, value_name = "DURATION", value_parser = ttl)]
    pub ttl: Option<Duration>,
    /// Make a token that lets this many hosts join
    #[arg(long, value_name = "N", value_parser = whole(1..=Token::USES_MAX))]
    pub uses: Option<u32>,
    /// Only the token
    #[arg(short, long)]
    pub quiet: bool,
    /// worker or manager
    #[arg(value_name = "ROLE", value_parser = parse::role)]
    pub role: Role,
}

fn ttl(text: &str) -> Result<Duration, String> {
    match parse::duration(text) {
        Ok(Duration::ZERO) => Err("a token that ends at once lets nobody in; write it like 1h".to_owned()),
        Ok(ttl) => Ok(ttl),
        Err(error) => Err(error.to_string()),
    }
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let others = [("--ttl", args.ttl.is_some()), ("--uses", args.uses.is_some())];
    flags::apart(("--rotate", args.rotate), &others)?;
    let daemon = context.connect().await?;
    let request = v1::GetJoinTokenRequest {
        role: v1::Role::from(args.role).into(),
        rotate: args.rotate,
        ttl_ms: args.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        uses: args.uses,
    };
    let answer = daemon.control().get_join_token(request).await?.into_inner();
    if args.quiet {
        return context.out.line(&answer.token);
    }
    if args.rotate {
        let role = args.role;
        context.out.note(format_args!("every earlier {role} token is void; nodes that have joined are not concerned"));
    }
    context.out.bytes(how_to(args.role, &answer).as_bytes())
}

/// For who has just made a cluster, or got it back. That it stands does not hang on this.
pub async fn tell(daemon: &Daemon, role: Role, context: &mut Context<'_>) -> Result<(), Error> {
    let request =
        v1::GetJoinTokenRequest { role: v1::Role::from(role).into(), rotate: false, ttl_ms: None, uses: None };
    match daemon.control().get_join_token(request).await {
        Ok(answer) => context.out.bytes(format!("\n{}", how_to(role, &answer.into_inner())).as_bytes()),
        Err(_) => context.out.line(format_args!("\n`muster join-token {role}` shows how a host joins as a {role}")),
    }
}

fn how_to(role: Role, answer: &v1::GetJoinTokenResponse) -> String {
    let (first, others) = match answer.managers.split_first() {
        Some((first, others)) => (first.as_str(), others),
        // Never so in a cluster that answers.
        None => ("HOST:PORT", [].as_slice()),
    };
    let mut text = format!(
        "to add a {role} to this cluster, run on its host:\n\n    muster join --token {} {first}\n\n",
        answer.token
    );
    if !others.is_empty() {
        text.push_str(&format!("any manager lets it in: {first} or {}\n", others.join(" or ")));
    }
    if let Some(end) = answer.expires_at {
        text.push_str(&format!("the token is good until {}\n", Timestamp::from_millis(end)));
    }
    match answer.uses_left {
        Some(1) => text.push_str("the token lets one host join\n"),
        Some(uses) => text.push_str(&format!("the token lets {uses} hosts join\n")),
        None => {}
    }
    text
}
