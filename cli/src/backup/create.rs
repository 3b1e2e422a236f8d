//! `muster backup`.

use std::path::PathBuf;

use muster_manager::backup::Whole;
use muster_proto::{show, v1};

use super::{
    file::{Existing, NewFile},
    seal::Sealer,
    secret::SecretFlags,
};
use crate::{context::Context, error::Error};

/// Write everything the cluster knows into an encrypted file
///
/// Services, nodes, tokens and the CA's key, as they are at one moment, taken from the leader: all that `muster restore`
/// needs for a cluster that goes on. Not what is in volumes. The file holds the cluster's keys and opens only with the
/// passphrase or the key file: without it the backup is worth nothing, so keep that elsewhere.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster backup cluster.backup                            asks for a passphrase
  muster backup --passphrase-file /root/passphrase /backup/muster-$(date +%F)
  head -c 32 /dev/urandom > /root/backup.key && muster backup --key-file /root/backup.key cluster.backup")]
pub struct Args {
    #[command(flatten)]
    pub secret: SecretFlags,
    /// Replace the file where it exists
    #[arg(short, long)]
    pub force: bool,
    /// Where to; only its user may read it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let mut file = NewFile::create(&args.file, existing)?;
    let daemon = context.connect().await?;
    // Before anybody types a passphrase for nothing.
    let mut stream = daemon.control().backup(v1::BackupRequest {}).await?.into_inner();
    let secret = args.secret.choose(context.surroundings)?;
    let sealed = async {
        let mut sealer = Sealer::new(&secret, file.writer()).map_err(Stopped::Write)?;
        let mut whole = Whole::default();
        while let Some(chunk) = stream.message().await.map_err(|status| Stopped::Read(Box::new(status)))? {
            whole.add(&chunk.bytes);
            sealer.write(&chunk.bytes).map_err(Stopped::Write)?;
        }
        if !whole.is_whole() {
            return Err(Stopped::Short);
        }
        sealer.finish().map(drop).map_err(Stopped::Write)
    };
    match sealed.await {
        Ok(()) => {}
        Err(Stopped::Read(status)) => return Err(Error::Refused(status)),
        Err(Stopped::Write(error)) => return Err(file.unwritable(&error)),
        Err(Stopped::Short) => {
            return Err(Error::Failed(
                "the backup ended before it was whole, and nothing of it was kept; run the command again".to_owned(),
            ));
        }
    }
    let length = file.finish()?;
    let shown = args.file.display();
    context.out.line(format_args!(
        "the cluster is in {shown} ({}); `muster restore {shown}` on a host in no cluster goes on from there",
        show::bytes(length)
    ))
}

enum Stopped {
    Read(Box<tonic::Status>),
    Write(std::io::Error),
    /// The daemon said no more, and what it said is not all.
    Short,
}
