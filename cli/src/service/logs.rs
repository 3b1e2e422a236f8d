//! `muster service logs`.

mod seen;

use std::{collections::BTreeMap, time::Duration};

use muster_proto::{parse, time::Timestamp, v1};
use tokio::time::Instant;
use tonic::{Code, Streaming};

use seen::Seen;

use crate::{connect::Daemon, context::Context, error::Error, flags, format::text::Truncate, object, out::Out};

/// A daemon that restarts, or managers that elect a leader, are back well within this.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Between two attempts to get through.
const PAUSE: Duration = Duration::from_millis(500);

/// Show the output of a service's or a task's containers
///
/// What a container wrote to stderr goes to stderr. Ctrl-C ends --follow.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster service logs web
  muster service logs --follow --tail 20 web
  muster service logs --since 10m --timestamps web
  muster service logs web.2                        the present task of a slot
  muster service logs 7mzo4ftgsb3q                 one task")]
pub struct Args {
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// Lines from the end of each task's output, or all
    #[arg(short = 'n', long, value_name = "N", default_value = "all", value_parser = Tail::parse)]
    pub tail: Tail,
    /// Only what was written since: a time as 2026-01-02T15:04:05Z, or how long ago, as 10m
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    pub since: Option<Since>,
    /// Put the time before each line
    #[arg(short, long)]
    pub timestamps: bool,
    /// Leave task ids out of the prefix
    #[arg(long)]
    pub no_task_ids: bool,
    /// Task ids in full
    #[arg(long)]
    pub no_trunc: bool,
    /// The containers' output alone, without prefix
    #[arg(long)]
    pub raw: bool,
    /// Name or id of a service, or name or id of a task
    #[arg(value_name = "SERVICE|TASK")]
    pub of: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    All,
    Lines(u32),
}

impl Tail {
    fn parse(text: &str) -> Result<Self, parse::ParseError> {
        match text {
            "all" => Ok(Tail::All),
            number => parse::whole(number, 0..=u32::MAX).map(Tail::Lines).map_err(|error| {
                let accepted = format!("{}, or all", error.accepted);
                parse::ParseError { accepted, ..error }
            }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    At(Timestamp),
    Ago(Duration),
}

impl Since {
    fn parse(text: &str) -> Result<Self, String> {
        match parse::duration(text) {
            Ok(ago) => return Ok(Since::Ago(ago)),
            Err(error) if text.starts_with('-') => return Err(error.to_string()),
            Err(_) => {}
        }
        let time = humantime::parse_rfc3339_weak(text)
            .map_err(|_| "it is no time; write one as 2026-01-02T15:04:05Z, or how long ago, as 10m".to_owned())?;
        let since_epoch = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ok(Since::At(Timestamp::EPOCH + since_epoch))
    }

    fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Since::At(at) => at,
            Since::Ago(ago) => Timestamp::EPOCH + now.since(Timestamp::EPOCH + ago),
        }
    }
}

/// Whose output is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    service_id: String,
    /// Empty: of all its tasks.
    task_id: String,
}

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    flags::apart(("--raw", args.raw), &[("--no-task-ids", args.no_task_ids), ("--no-trunc", args.no_trunc)])?;
    let daemon = context.connect().await?;
    let source = find(&daemon, &args.of).await?;
    let nodes = daemon.nodes().await?;
    let hostnames = nodes.iter().map(|node| (node.id.clone(), node.hostname().to_owned())).collect();
    let prefix = Prefix::new(&args, hostnames);
    let request = v1::ServiceLogsRequest {
        service_id: source.service_id,
        task_id: source.task_id,
        follow: args.follow,
        tail: match args.tail {
            Tail::All => None,
            Tail::Lines(lines) => Some(lines),
        },
        since: args.since.map(|since| since.at(context.surroundings.now()).millis()),
        // By their times, lines are known again after a stream broke.
        timestamps: args.timestamps || args.follow,
    };
    let ended = tokio::select! {
        ended = show(request, &daemon, &prefix, context) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    ended.and_then(|()| context.out.flush())
}

/// Until the last line, which with --follow never comes: a stream that breaks is opened again.
async fn show(
    mut request: v1::ServiceLogsRequest,
    daemon: &Daemon,
    prefix: &Prefix,
    context: &mut Context<'_>,
) -> Result<(), Error> {
    let mut seen = Seen::default();
    let mut stream = daemon.control().service_logs(request.clone()).await?.into_inner();
    loop {
        match stream.message().await.map_err(Error::from) {
            Ok(None) => return Ok(()),
            Ok(Some(line)) if seen.is_new(&line) => prefix.print(line, context.out)?,
            Ok(Some(_)) => {}
            Err(error) if request.follow && error.is_passing() => {
                context.out.flush()?;
                context.out.note("lost the stream, the daemon or the leader is gone; trying again");
                let since = seen.resume().unwrap_or_else(|| context.surroundings.now()).millis();
                request.since = Some(request.since.unwrap_or(0).max(since));
                request.tail = None;
                stream = reopen(&request, daemon).await?;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn reopen(request: &v1::ServiceLogsRequest, daemon: &Daemon) -> Result<Streaming<v1::LogLine>, Error> {
    let give_up = Instant::now() + SILENCE_MAX;
    loop {
        tokio::time::sleep(PAUSE).await;
        match daemon.control().service_logs(request.clone()).await.map_err(Error::from) {
            Ok(stream) => return Ok(stream.into_inner()),
            Err(error) if error.is_passing() && Instant::now() < give_up => {}
            Err(error) => return Err(error),
        }
    }
}

/// A service first, as it is what is mostly meant; then a task by its name or id.
async fn find(daemon: &Daemon, of: &str) -> Result<Source, Error> {
    let no_service = match daemon.service(of).await {
        Ok(service) => return Ok(Source { service_id: service.id, task_id: String::new() }),
        Err(error) if error.code() == Some(Code::NotFound) => error,
        Err(error) => return Err(error),
    };
    let tasks = daemon.tasks(v1::ListTasksRequest { service_id: String::new(), node_id: String::new() }).await?;
    pick(&tasks, of)?.ok_or(no_service)
}

/// The present task of a slot by its name, or any task by its id or a prefix that only one has.
fn pick(tasks: &[object::Task], of: &str) -> Result<Option<Source>, Error> {
    let source = |task: &object::Task| Source { service_id: task.service_id.clone(), task_id: task.id.clone() };
    let of_slot = tasks.iter().filter(|task| task.name() == of);
    if let Some(task) = of_slot.max_by_key(|task| (task.is_active(), task.created_at, &task.id)) {
        return Ok(Some(source(task)));
    }
    let found: Vec<&object::Task> = tasks.iter().filter(|task| task.id.starts_with(of)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [task] => Ok(Some(source(task))),
        several => {
            let count = several.len();
            Err(Error::Failed(format!("{count} tasks have an id that begins with {of}; write more of it")))
        }
    }
}

/// `web.1.7mzo4ftgsb3q@host    | `
#[derive(Debug)]
struct Prefix {
    shape: Shape,
    /// Whether the times that came with the lines were asked for.
    timestamps: Timestamps,
    hostnames: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timestamps {
    Shown,
    Hidden,
}

#[derive(Debug)]
enum Shape {
    Raw,
    Name,
    NameAndId(Truncate),
}

impl Prefix {
    fn new(args: &Args, hostnames: BTreeMap<String, String>) -> Self {
        let shape = match (args.raw, args.no_task_ids) {
            (true, _) => Shape::Raw,
            (false, true) => Shape::Name,
            (false, false) => Shape::NameAndId(Truncate::unless(args.no_trunc)),
        };
        let timestamps = if args.timestamps { Timestamps::Shown } else { Timestamps::Hidden };
        Self { shape, timestamps, hostnames }
    }

    fn print(&self, line: v1::LogLine, out: &mut Out) -> Result<(), Error> {
        let name = |id: &str| {
            let node = self.hostnames.get(&line.node_id).unwrap_or(&line.node_id);
            format!("{}{id}@{node}    | ", line.task_name)
        };
        let prefix = match &self.shape {
            Shape::Raw => String::new(),
            Shape::Name => name(""),
            Shape::NameAndId(truncate) => name(&format!(".{}", truncate.id(&line.task_id))),
        };
        let timestamp = match self.timestamps {
            Timestamps::Shown if !line.timestamp.is_empty() => format!("{} ", line.timestamp),
            Timestamps::Shown | Timestamps::Hidden => String::new(),
        };
        let mut bytes = format!("{timestamp}{prefix}").into_bytes();
        bytes.extend_from_slice(&line.text);
        if !line.text.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        match line.stderr || line.notice {
            true => out.note_bytes(&bytes),
            false => out.bytes(&bytes),
        }
    }
}
