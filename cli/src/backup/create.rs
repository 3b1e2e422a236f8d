//! `muster backup`.

use std::{path::PathBuf, time::Duration};

use muster_manager::backup::Whole;
use muster_proto::{show, v1};
use tokio::time::Instant;

use super::{
    file::{Existing, NewFile},
    seal::{Sealer, Secret},
    secret::SecretFlags,
};
use crate::{connect::Daemon, context::Context, error::Error};

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

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// Since anything came. A daemon that restarts, or managers that elect a leader, are back well within this.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 30 });
/// Attempts that broke off in the middle, each after as long as it takes. Leaders that do not stay give none the time.
const BROKEN_MAX: u32 = 5;

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let existing = if args.force { Existing::Replace } else { Existing::Keep };
    let mut file = NewFile::create(&args.file, existing)?;
    let daemon = context.connect().await?;
    // Before anybody types a passphrase for nothing. The stream itself does not wait for that.
    daemon.control().get_cluster(v1::GetClusterRequest {}).await?;
    let secret = args.secret.choose(context.surroundings)?;
    let (mut broken, mut silent_since) = (0, None);
    let length = loop {
        let is_first = broken == 0 && silent_since.is_none();
        match take(&daemon, &secret, file).await {
            Ok(length) => break length,
            Err(Stopped::Ended(error)) => return Err(error),
            Err(Stopped::Broken) => {
                broken += 1;
                if broken >= BROKEN_MAX {
                    return Err(Error::Failed(BROKEN.to_owned()));
                }
                silent_since = Some(Instant::now());
            }
            Err(Stopped::Unheard(error)) => {
                if silent_since.is_some_and(|since| since.elapsed() >= PATIENCE) {
                    return Err(error);
                }
                silent_since.get_or_insert_with(Instant::now);
            }
        }
        if is_first {
            context.out.note("lost the stream, the daemon or the leader is gone; beginning again");
        }
        tokio::time::sleep(PAUSE).await;
        file = NewFile::create(&args.file, existing)?;
    };
    let shown = args.file.display();
    context.out.line(format_args!(
        "the cluster is in {shown} ({}); `muster restore {shown}` on a host in no cluster goes on from there",
        show::bytes(length)
    ))
}

/// Why an attempt came to nothing. Nothing of it is left.
enum Stopped {
    /// The daemon or the leader went away before anything came. If this attempt is the last, this is said.
    Unheard(Error),
    /// They went away in the middle: another attempt may be luckier.
    Broken,
    Ended(Error),
}

/// One attempt. Returns the file's length.
async fn take(daemon: &Daemon, secret: &Secret, mut file: NewFile) -> Result<u64, Stopped> {
    let mut stream = match daemon.control().backup(v1::BackupRequest {}).await.map_err(Error::from) {
        Ok(stream) => stream.into_inner(),
        Err(error) if error.is_passing() => return Err(Stopped::Unheard(error)),
        Err(error) => return Err(Stopped::Ended(error)),
    };
    let mut chunks: u64 = 0;
    let sealed = async {
        let mut sealer = Sealer::new(secret, file.writer()).map_err(Cut::Write)?;
        let mut whole = Whole::default();
        while let Some(chunk) = stream.message().await.map_err(|status| Cut::Read(status.into()))? {
            chunks += 1;
            whole.add(&chunk.bytes);
            sealer.write(&chunk.bytes).map_err(Cut::Write)?;
        }
        if !whole.is_whole() {
            return Err(Cut::Short);
        }
        sealer.finish().map(drop).map_err(Cut::Write)
    };
    match sealed.await {
        Ok(()) => file.finish().map_err(Stopped::Ended),
        Err(Cut::Read(error)) if error.is_passing() && chunks == 0 => Err(Stopped::Unheard(error)),
        Err(Cut::Read(error)) if error.is_passing() => Err(Stopped::Broken),
        Err(Cut::Read(error)) => Err(Stopped::Ended(error)),
        Err(Cut::Write(error)) => Err(Stopped::Ended(file.unwritable(&error))),
        Err(Cut::Short) => Err(Stopped::Ended(Error::Failed(
            "the backup ended before it was whole, and nothing of it was kept; run the command again".to_owned(),
        ))),
    }
}

const BROKEN: &str = "the backup broke off each time, because the daemon or the leader went away, and nothing of it was \
    kept; see with `muster info` whether there is a leader, then run the command again";

/// How a stream that was open ended.
enum Cut {
    Read(Error),
    Write(std::io::Error),
    /// The daemon said no more, and what it said is not all.
    Short,
}
