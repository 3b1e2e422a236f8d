//! `muster rebalance`.

mod outcome;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_proto::{parse, show, task::Slot, v1};
use tokio::time::Instant;

use crate::{
    connect::Daemon,
    context::Context,
    error::Error,
    flags::{self, whole},
    format::{
        flag::{self, Format},
        list::{Column, List},
        text::counted,
    },
    object::{self, Node, Task},
    out::Out,
    wait::tally::{Standing, Tally, Word},
};
use outcome::{Relocation, Stage};

/// Move running tasks to nodes that have fewer, such as one that joined or came back
///
/// What is better is what the scheduler would choose: first each service's tasks are spread over its placement
/// preferences and the nodes, then the number of tasks on each node is evened out, within constraints, limits of replicas
/// per node and what nodes have free. A move starts the task on its new node, waits until it is ready, and only then
/// stops the one it replaces; as many of a service move at once as its update parallelism says. One that does not become
/// ready is given up, and the task stays.
///
/// Nothing is moved of a service that cannot run twice at once (host port, writable volume, --on-isolation stop), whose
/// update order is stop-first, or whose rollout is under way, nor while a node is down. What would be better elsewhere and
/// stays is told with its reason.
///
/// `muster cluster update --auto-rebalance true` makes it happen by itself, a few tasks at a time.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  muster rebalance --dry-run
  muster rebalance --max-moves 3
  muster rebalance --detach")]
pub struct Args {
    /// Only show which tasks would move, from where to where
    #[arg(long)]
    pub dry_run: bool,
    /// Move so many tasks at most, up to 500
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = whole(1..=500_u32))]
    pub max_moves: u32,
    /// Return at once instead of waiting until the tasks have moved
    #[arg(short, long)]
    pub detach: bool,
    /// Stop waiting after so long; without it there is no limit
    #[arg(long, value_name = "DURATION", value_parser = parse::duration)]
    pub timeout: Option<Duration>,
    /// table, json or a template; see --help
    #[arg(long, value_name = "FORMAT", default_value = "table", long_help = flag::HELP)]
    pub format: Format,
}

const COLUMNS: &[Column] = &[
    Column::new("Service", "SERVICE"),
    Column::new("Slot", "SLOT"),
    Column::new("From", "FROM"),
    Column::new("To", "TO"),
    Column::new("Task", "TASK"),
];
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// Managers that elect a leader, or a daemon that restarts, are back well within this.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(args: Args, context: &mut Context<'_>) -> Result<(), Error> {
    let timeout = ("--timeout", args.timeout.is_some());
    flags::apart(("--dry-run", args.dry_run), &[("--detach", args.detach), timeout])?;
    flags::apart(("--detach", args.detach), &[timeout])?;
    let daemon = context.connect().await?;
    let request = v1::RebalanceRequest { max_moves: args.max_moves, dry_run: args.dry_run };
    let told = daemon.control().rebalance(request).await?.into_inner();
    if let Some(held) = told.held {
        return Err(Error::Failed(held));
    }
    let nodes = daemon.nodes().await?;
    let moves = told.moves.into_iter().map(|one| relocation(one, &nodes)).collect::<Result<Vec<_>, _>>()?;
    if !moves.is_empty() {
        table(&moves).print(&args.format, context.out)?;
    }
    for staying in &told.staying {
        context.out.note(format_args!("service {} stays as it is: {}", staying.service_name, staying.reason));
    }
    if moves.is_empty() {
        context.out.note(match told.staying.is_empty() {
            true => "no task would be better placed elsewhere; nothing moves",
            false => "no other task would be better placed elsewhere; nothing moves",
        });
        return Ok(());
    }
    if told.more {
        context.out.note(format_args!(
            "{} at most were asked for, and more would be better placed elsewhere; repeat the command for those",
            counted(args.max_moves as usize, "move")
        ));
    }
    if args.dry_run || args.detach {
        return Ok(());
    }
    context.out.flush()?;
    follow(&args, moves, &daemon, context.out).await
}

fn relocation(wire: v1::rebalance_response::Move, nodes: &[Node]) -> Result<Relocation, Error> {
    let slot = wire.slot.ok_or_else(|| object::missing("a task's slot"))?;
    let slot: Slot = slot.try_into().map_err(|why| object::unreadable("a task's slot", why))?;
    let hostname = |id: &str| nodes.iter().find(|node| node.id == id).map_or(id, Node::hostname).to_owned();
    Ok(Relocation {
        from: hostname(&wire.from),
        to: hostname(&wire.to),
        task_id: wire.task_id,
        service_id: wire.service_id,
        service_name: wire.service_name,
        slot,
        to_id: wire.to,
    })
}

fn table(moves: &[Relocation]) -> List {
    let row = |one: &Relocation| {
        vec![one.service_name.clone(), one.slot.to_string(), one.from.clone(), one.to.clone(), one.task_id.clone()]
    };
    List { columns: COLUMNS, rows: moves.iter().map(row).collect() }
}

async fn follow(args: &Args, moves: Vec<Relocation>, daemon: &Daemon, out: &mut Out) -> Result<(), Error> {
    let mut tally = Tally::on(out.screen);
    let ended = tokio::select! {
        ended = until_over(args, &moves, daemon, &mut tally, out) => ended.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    tally.end();
    let Some(stages) = ended? else {
        out.note(
            "the moves go on in the background; watch them with `muster rebalance --dry-run` and `muster node ps`",
        );
        return Ok(());
    };
    told(&moves, &stages, out)
}

/// What has become of each, in the order of `moves`.
async fn until_over(
    args: &Args,
    moves: &[Relocation],
    daemon: &Daemon,
    tally: &mut Tally,
    out: &mut Out,
) -> Result<Vec<Stage>, Error> {
    let (began, mut heard) = (Instant::now(), Instant::now());
    // A move that is over stays over: its rows are history, which is let go of.
    let mut over: BTreeMap<&str, Stage> = BTreeMap::new();
    loop {
        match look(moves, &over, daemon).await {
            Ok(tasks) => {
                heard = Instant::now();
                let mut stages = Vec::new();
                for one in moves {
                    let stage = over.get(one.task_id.as_str()).cloned().unwrap_or_else(|| one.stage(&tasks));
                    if stage.is_over() {
                        over.insert(&one.task_id, stage.clone());
                    }
                    stages.push(stage);
                }
                tally.show(&standing(moves, &stages), out);
                if over.len() == moves.len() {
                    return Ok(stages);
                }
            }
            Err(error) if error.is_passing() && heard.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
        if let Some(timeout) = args.timeout.filter(|timeout| began.elapsed() >= *timeout) {
            return Err(Error::Failed(format!(
                "{} of {} {} not over after {}; what is left goes on, watch it with `muster node ps`",
                moves.len() - over.len(),
                counted(moves.len(), "move"),
                if moves.len() - over.len() == 1 { "is" } else { "are" },
                show::duration(timeout)
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The tasks of the services that still have a move to go.
async fn look(moves: &[Relocation], over: &BTreeMap<&str, Stage>, daemon: &Daemon) -> Result<Vec<Task>, Error> {
    let left = moves.iter().filter(|one| !over.contains_key(one.task_id.as_str()));
    let services: BTreeSet<&str> = left.map(|one| one.service_id.as_str()).collect();
    let mut tasks = Vec::new();
    for service in services {
        let of = v1::ListTasksRequest { service_id: service.to_owned(), node_id: String::new() };
        match daemon.tasks(of).await {
            Ok(of_service) => tasks.extend(of_service),
            // Removed meanwhile: its tasks are gone, and their moves are over.
            Err(error) if error.code() == Some(tonic::Code::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(tasks)
}

fn standing(moves: &[Relocation], stages: &[Stage]) -> Standing {
    let mut each = BTreeMap::new();
    let (mut moved, mut stayed) = (0, 0);
    for (one, stage) in moves.iter().zip(stages) {
        match stage {
            Stage::Moved => moved += 1,
            Stage::Stayed(_) => stayed += 1,
            Stage::Underway(text) => drop(each.insert(one.name(), Word::Underway(text.clone()))),
            Stage::Waits(text) => drop(each.insert(one.name(), Word::Waits(text.clone()))),
        }
    }
    let rest = if stayed > 0 { format!(", {stayed} stayed") } else { String::new() };
    let overall = format!("{moved} of {} moved{rest}", counted(moves.len(), "task"));
    Standing { done: moved + stayed, of: moves.len(), overall, each }
}

/// Fails when a task stayed that was to move.
fn told(moves: &[Relocation], stages: &[Stage], out: &mut Out) -> Result<(), Error> {
    let mut all_moved = true;
    for (one, stage) in moves.iter().zip(stages) {
        match stage {
            Stage::Moved => out.note(format_args!("{} moved from {} to {}", one.name(), one.from, one.to)),
            Stage::Stayed(why) => {
                all_moved = false;
                out.note(format_args!("{} did not move from {} to {}: {why}", one.name(), one.from, one.to));
            }
            // Not once they are over.
            Stage::Underway(_) | Stage::Waits(_) => {}
        }
    }
    if all_moved { Ok(()) } else { Err(Error::Told) }
}
