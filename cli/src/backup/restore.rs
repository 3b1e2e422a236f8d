//! `muster restore`.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use muster_proto::{node::Role, v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Response;

use super::{
    seal::{Header, OpenError, Opener, Secret},
    secret::SecretFlags,
};
use crate::{context::Context, error::Error, format::text::counted, join_token};

/// Messages of 64 KiB that may wait for the daemon.
const QUEUE_MAX: usize = 8;

/// Go on from a backup, on a host in no cluster
///
/// This host becomes the cluster's only manager, under the addresses and with the services, settings and secrets that the
/// backup holds. Join further managers then. It is refused while managers run on nodes that the backup knows; of those that
/// joined later it cannot know, so stop their daemons before. What other nodes run goes on, and those that find this host at
/// an address of theirs take part again by themselves, managers of before as workers.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster restore cluster.backup
  muster restore --passphrase-file /root/passphrase --advertise-addr 10.0.0.9 cluster.backup

Without a file for it, the passphrase is asked for.")]
pub struct Args {
    #[command(flatten)]
    pub secret: SecretFlags,
    /// Where other nodes reach this one, as HOST or HOST:PORT (default: the daemon's setting, else this host's address)
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    pub advertise_addr: String,
    /// Also while managers run that the backup knows, or where that cannot be told: they are managers no more, and what they
    /// decided since the backup is lost; stop those that joined later yourself
    #[arg(long)]
    pub force: bool,
    /// A file made by `muster backup`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let refused = |error: OpenError| Error::Failed(format!("cannot restore {}: {error}", args.file.display()));
    let (header, _) = open(&args.file).map_err(refused)?;
    // First what needs no key: to make one of a passphrase takes its time, on purpose.
    let daemon = context.connect().await?;
    let check = v1::RestoreRequest { check_only: true, ..settings(&args) };
    daemon.local().restore(tokio_stream::once(check)).await?;
    let secret = args.secret.recall(header.kind, context.surroundings)?;
    // The daemon is sent nothing of the file before all of it is known to be whole.
    let mut opener = opener(&args.file, &secret).map_err(refused)?;
    while opener.next().map_err(refused)?.is_some() {}

    let (queue, messages) = mpsc::channel(QUEUE_MAX);
    let sending = async {
        match send(&args, &secret, &queue).await {
            // Only now does the daemon see the end, and goes on from what it got.
            Ok(()) => {
                drop(queue);
                Ok(())
            }
            Err(error) => Err((refused(error), Some(queue))),
        }
    };
    let mut local = daemon.local();
    let asking = async {
        let answer = local.restore(ReceiverStream::new(messages)).await;
        answer.map(Response::into_inner).map_err(|status| (Error::from(status), None))
    };
    let ((), answer) = tokio::try_join!(sending, asking).map_err(|(error, _)| error)?;
    tell(&answer, context)?;
    join_token::tell(&daemon, Role::Manager, context).await
}

fn tell(answer: &v1::RestoreResponse, context: &mut Context<'_>) -> Result<(), Error> {
    context.out.line(format_args!(
        "cluster {} goes on from the backup, with {} and {}: this node ({}) is its only manager, at {}",
        answer.cluster_id,
        counted(answer.services as usize, "service"),
        counted(answer.nodes as usize, "node"),
        answer.node_id,
        answer.advertise_addr,
    ))
}

fn open(path: &Path) -> Result<(Header, impl Read + use<>), OpenError> {
    let mut file = BufReader::new(File::open(path)?);
    let header = Header::read(&mut file)?;
    Ok((header, file))
}

fn opener(path: &Path, secret: &Secret) -> Result<Opener<impl Read + use<>>, OpenError> {
    let (header, file) = open(path)?;
    Opener::new(secret, &header, file)
}

fn settings(args: &Args) -> v1::RestoreRequest {
    v1::RestoreRequest {
        advertise_addr: Some(args.advertise_addr.clone()),
        force: args.force,
        ..v1::RestoreRequest::default()
    }
}

/// The settings, then the content.
async fn send(args: &Args, secret: &Secret, queue: &mpsc::Sender<v1::RestoreRequest>) -> Result<(), OpenError> {
    if queue.send(settings(args)).await.is_err() {
        return Ok(());
    }
    let mut opener = opener(&args.file, secret)?;
    while let Some(bytes) = opener.next()? {
        if queue.send(v1::RestoreRequest { bytes, ..v1::RestoreRequest::default() }).await.is_err() {
            break;
        }
    }
    Ok(())
}
