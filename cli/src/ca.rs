//! `muster ca`: the certificate authority that every node trusts.

use std::time::Duration;

use muster_proto::v1;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    connect::Daemon,
    context::Context,
    error::Error,
    format::{
        flag::{self, Format},
        object,
        text::counted,
    },
    out::Out,
};

/// Show the root certificate of the cluster, or replace it
///
/// Prints the certificates that nodes trust, in PEM: one, or two while a rotation is under way, and says on stderr how
/// far that is.
#[derive(clap::Args, Clone, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  muster ca > root.pem
  muster ca --format '{{.Digest}}'
  muster ca rotate"
)]
pub struct Args {
    /// json or a template; see --help
    #[arg(long, value_name = "FORMAT", default_value = "table", long_help = flag::HELP)]
    pub format: Format,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    Rotate(RotateArgs),
}

/// Make a new root, and have every node take a certificate of it
///
/// The former root stays trusted until the last node has shown one, so nothing is interrupted. Shows which nodes are
/// waited for; one that is down keeps the rotation open until it returns or is removed with `muster node rm`. Join tokens
/// of before are void at once: see `muster join-token` for new ones.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster ca rotate
  muster ca rotate --detach")]
pub struct RotateArgs {
    /// Return at once instead of waiting until every node has its certificate
    #[arg(short, long)]
    pub detach: bool,
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Managers that elect a leader, or a daemon that restarts, are back well within this.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let daemon = context.connect().await?;
    match args.command {
        Some(Command::Rotate(rotate)) => return self::rotate(&rotate, &daemon, context).await,
        None => {}
    }
    let told = ask(&daemon, Intent::Look).await?;
    match &args.format {
        Format::Json => context.out.line(object::compact(view(&told))),
        Format::Template(template) => context.out.line(object::rendered(template, &view(&told))?),
        Format::Table => {
            context.out.bytes(told.roots_pem.concat().as_bytes())?;
            context.out.note(format_args!("digest {}", told.root_digest));
            if told.rotating {
                context.out.note(progress(&told));
            }
            Ok(())
        }
        Format::TableOf(_) => Err(flag::no_table("ca")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Intent {
    Look,
    Begin,
}

async fn ask(daemon: &Daemon, intent: Intent) -> Result<v1::RotateCaResponse, Error> {
    let request = v1::RotateCaRequest { begin: intent == Intent::Begin };
    Ok(daemon.control().rotate_ca(request).await?.into_inner())
}

fn view(told: &v1::RotateCaResponse) -> Value {
    json!({
        "Digest": told.root_digest,
        "PreviousDigest": told.previous_digest,
        "Rotating": told.rotating,
        "WaitingFor": told.waiting_for,
        "Nodes": told.nodes,
        "Roots": told.roots_pem,
    })
}

fn progress(told: &v1::RotateCaResponse) -> String {
    let waiting = told.waiting_for.len();
    let nodes = counted(told.nodes as usize, "node");
    match waiting {
        0 => format!("rotating: all of {nodes} have a certificate of the new root"),
        _ => format!("rotating: {waiting} of {nodes} to go: {}", told.waiting_for.join(", ")),
    }
}

async fn rotate(args: &RotateArgs, daemon: &Daemon, context: &mut Context<'_>) -> Result<(), Error> {
    let before = ask(daemon, Intent::Look).await?;
    let begun = if before.rotating {
        context.out.note("a rotation is under way already; this goes on with it");
        before
    } else {
        ask(daemon, Intent::Begin).await?
    };
    context.out.line(&begun.root_digest)?;
    context.out.flush()?;
    context.out.note(
        "join tokens of before are void; `muster join-token worker` and `muster join-token manager` show the new ones",
    );
    if args.detach {
        return Ok(());
    }
    tokio::select! {
        ended = follow(begun, daemon, context.out) => ended,
        _ = tokio::signal::ctrl_c() => {
            context.out.note("the rotation goes on in the background; `muster ca` shows how far it is");
            Ok(())
        }
    }
}

async fn follow(mut told: v1::RotateCaResponse, daemon: &Daemon, out: &mut Out) -> Result<(), Error> {
    let mut shown = String::new();
    let mut heard = Instant::now();
    while told.rotating {
        let progress = progress(&told);
        if progress != shown {
            out.note(&progress);
            shown = progress;
        }
        tokio::time::sleep(PAUSE).await;
        match ask(daemon, Intent::Look).await {
            Ok(next) => {
                told = next;
                heard = Instant::now();
            }
            Err(error) if error.is_passing() && heard.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
    }
    let nodes = counted(told.nodes as usize, "node");
    out.note(format_args!("the root is new on all of {nodes}, and the former one is trusted no more"));
    Ok(())
}
