//! `muster node update --availability drain --wait`: follows a drain until the node has no task left.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use muster_proto::{
    node::{Availability, NodeState},
    show, v1,
};
use tokio::time::Instant;

use super::departure::{self, Contact, Progress, Remaining};
use crate::{
    connect::Daemon,
    error::Error,
    format::text::counted,
    object::{Node, Task},
    out::Out,
    wait::{
        tally::{Standing, Tally},
        verdict::BLOCKED_MAX,
    },
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);
/// Managers that elect a leader, or a daemon that restarts, are back well within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// Each look asks for the tasks of so many services at most, and the next one for those of others.
const SERVICES_ASKED_MAX: usize = 20;
/// More reasons than this tell nothing new.
const REASONS_SHOWN_MAX: usize = 10;

/// What is waited for.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    /// As the user calls it.
    pub(super) node: &'a str,
    /// From here on `self` has to mean the same to the end.
    pub(super) id: &'a str,
    pub(super) timeout: Option<Duration>,
}

/// What one look at the node found.
struct Look {
    node: Node,
    remaining: Vec<Remaining>,
}

/// The tasks of services with tasks there, as they were when last asked for.
#[derive(Debug, Default)]
struct Asked {
    tasks: BTreeMap<String, Vec<Task>>,
    /// The one that was asked for last.
    last: String,
}

impl Asked {
    /// Those whose turn it is, of all that still have tasks there.
    fn next(&mut self, services: &BTreeSet<String>) -> Vec<String> {
        self.tasks.retain(|service, _| services.contains(service));
        let (before, after): (Vec<_>, Vec<_>) = services.iter().partition(|service| **service <= self.last);
        let next: Vec<String> = after.into_iter().chain(before).take(SERVICES_ASKED_MAX).cloned().collect();
        self.last = next.last().cloned().unwrap_or_default();
        next
    }
}

pub(super) async fn until_empty(wait: &Wait<'_>, daemon: &Daemon, out: &mut Out) -> Result<(), Error> {
    let mut tally = Tally::on(out.screen);
    let ended = tokio::select! {
        ended = follow(wait, daemon, &mut tally, out) => ended.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    tally.end();
    match ended? {
        Some(text) => out.note(text),
        None => out.note(format_args!(
            "node {node}: the drain goes on in the background; watch it with `muster node ps {node}`",
            node = wait.node
        )),
    }
    Ok(())
}

async fn follow(wait: &Wait<'_>, daemon: &Daemon, tally: &mut Tally, out: &mut Out) -> Result<String, Error> {
    let (began, mut heard, mut judge) = (Instant::now(), Instant::now(), Judge::default());
    let mut asked = Asked::default();
    loop {
        match look(wait, daemon, &mut asked).await {
            Ok(look) => {
                heard = Instant::now();
                let verdict = judge.verdict(wait, &look, began.elapsed());
                tally.show(&standing(wait, &look, judge.most), out);
                match verdict {
                    Verdict::Going => {}
                    Verdict::Drained(text) => return Ok(text),
                    Verdict::Failed(why) => return Err(Error::Failed(why)),
                }
            }
            Err(error) if error.is_passing() && heard.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Going,
    Drained(String),
    /// Why not, and what to do.
    Failed(String),
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
struct Judge {
    /// Tasks that were there at once.
    most: usize,
    stuck_since: Option<Duration>,
}

impl Judge {
    /// `elapsed`: since the wait began. Never goes back.
    fn verdict(&mut self, wait: &Wait<'_>, look: &Look, elapsed: Duration) -> Verdict {
        self.most = look.remaining.len().max(self.most);
        if look.node.availability != Availability::Drain {
            let now = look.node.availability.to_string().to_lowercase();
            return Verdict::Failed(format!(
                "node {node} was made {now} again meanwhile, which ended the drain; look at it with `muster node ps \
                 {node}`",
                node = wait.node
            ));
        }
        if look.remaining.is_empty() {
            return Verdict::Drained(drained(wait, &look.node));
        }
        self.stuck_since = is_stuck(look).then(|| self.stuck_since.unwrap_or(elapsed));
        if self.stuck_since.is_some_and(|since| elapsed.saturating_sub(since) >= BLOCKED_MAX) {
            return Verdict::Failed(stuck(wait, look));
        }
        match wait.timeout {
            Some(timeout) if elapsed >= timeout => Verdict::Failed(late(wait, look)),
            Some(_) | None => Verdict::Going,
        }
    }
}

async fn look(wait: &Wait<'_>, daemon: &Daemon, asked: &mut Asked) -> Result<Look, Error> {
    let node = daemon.node(wait.id).await?;
    let contact = match node.state {
        NodeState::Down => Contact::Lost,
        NodeState::Ready | NodeState::Unknown => Contact::Heard,
    };
    let here = daemon.tasks(v1::ListTasksRequest { service_id: String::new(), node_id: node.id.clone() }).await?;
    let here: Vec<Task> = here.into_iter().filter(|task| departure::remains(task, contact)).collect();
    let services: BTreeSet<String> = here.iter().map(|task| task.service_id.clone()).collect();
    for service in asked.next(&services) {
        let of = v1::ListTasksRequest { service_id: service.clone(), node_id: String::new() };
        match daemon.tasks(of).await {
            Ok(of_service) => _ = asked.tasks.insert(service, of_service),
            // Removed since the look before.
            Err(error) if error.code() == Some(tonic::Code::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    let elsewhere = asked.tasks.values().flatten().filter(|task| task.node_id.as_ref() != Some(&node.id)).cloned();
    let tasks: Vec<Task> = here.into_iter().chain(elsewhere).collect();
    let remaining = departure::remaining(&node.id, contact, &tasks);
    Ok(Look { remaining, node })
}

fn standing(wait: &Wait<'_>, look: &Look, most: usize) -> Standing {
    let count = look.remaining.len();
    let of = if count < most { format!(" of {most}") } else { String::new() };
    let overall = match count {
        0 => format!("{}: no task left", wait.node),
        count => format!("{}: {count}{of} {} left", wait.node, if most == 1 { "task" } else { "tasks" }),
    };
    let each = look.remaining.iter().map(|task| (task.name.clone(), task.progress.word())).collect();
    Standing { done: most - count, of: most, overall, each }
}

fn is_stuck(look: &Look) -> bool {
    look.remaining.iter().all(|task| match task.progress {
        Progress::Stuck(_) => true,
        Progress::Underway(_) | Progress::Waits(_) => false,
    })
}

fn drained(wait: &Wait<'_>, node: &Node) -> String {
    match node.state {
        NodeState::Ready | NodeState::Unknown => format!("node {} is drained", wait.node),
        NodeState::Down => {
            format!("node {} is drained, and down: should it come back, what it still runs is stopped then", wait.node)
        }
    }
}

fn reasons(look: &Look) -> String {
    let shown = look.remaining.iter().take(REASONS_SHOWN_MAX);
    let reasons: String = shown.map(|task| format!("\n  {}: {}", task.name, task.progress.word().text())).collect();
    match look.remaining.len().saturating_sub(REASONS_SHOWN_MAX) {
        0 => reasons,
        more => format!("{reasons}\n  and {more} more"),
    }
}

fn stuck(wait: &Wait<'_>, look: &Look) -> String {
    format!(
        "node {node} is not drained: {} on it with no replacement that runs elsewhere{}\nwhat serves there goes on \
         until its replacement runs; add a node or make room, and the drain ends by itself, or take it back with `muster \
         node update --availability active {node}`",
        counted_are(look.remaining.len()),
        reasons(look),
        node = wait.node,
    )
}

fn late(wait: &Wait<'_>, look: &Look) -> String {
    let timeout = wait.timeout.map_or_else(String::new, |timeout| format!(" after {}", show::duration(timeout)));
    format!(
        "node {node} is not drained{timeout}: {} on it{}\nthe drain goes on; watch it with `muster node ps {node}`",
        counted_are(look.remaining.len()),
        reasons(look),
        node = wait.node,
    )
}

fn counted_are(count: usize) -> String {
    format!("{} {} still", counted(count, "task"), if count == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use muster_proto::v1::TaskState;

    use super::*;
    use crate::testing::objects::{failed, id, node, read_tasks, service, task, waiting};

    fn look(tasks: Vec<v1::Task>) -> Look {
        let mut node = node("n1", "host1");
        node.availability = v1::Availability::Drain.into();
        let remaining = departure::remaining(&id("n1"), Contact::Heard, &read_tasks(tasks));
        Look { node: node.try_into().expect("it is whole"), remaining }
    }

    fn elsewhere(mut task: v1::Task) -> v1::Task {
        task.created_at += 1_000;
        task.node_id = task.node_id.map(|_| id("n2"));
        task
    }

    const WAIT: Wait<'static> = Wait { node: "host1", id: "n1", timeout: None };

    #[test]
    fn a_task_that_nobody_takes_ends_the_wait_and_says_why() {
        let web = service("--name web --replicas 2 myapp:1");
        let serving = task(&web, 1, "t1", TaskState::Running);
        let blocked = waiting(task(&web, 1, "t3", TaskState::Pending), "no suitable node among 2 nodes: 2 drained");
        let alone = look(vec![serving.clone(), elsewhere(blocked.clone())]);
        let mut judge = Judge::default();
        assert_eq!(judge.verdict(&WAIT, &alone, Duration::ZERO), Verdict::Going);
        assert_eq!(judge.verdict(&WAIT, &alone, BLOCKED_MAX - Duration::from_millis(1)), Verdict::Going);
        let Verdict::Failed(why) = judge.verdict(&WAIT, &alone, BLOCKED_MAX) else { panic!("nothing comes of it") };
        assert!(why.contains("1 task is still on it"), "{why}");
        assert!(why.contains("\n  web.1: no suitable node among 2 nodes: 2 drained\n"), "{why}");

        let mut other = task(&web, 2, "t2", TaskState::Running);
        other.waiting = Some("it moves to another node once others of the service have".to_owned());
        let with_another = vec![serving, elsewhere(blocked), other];
        let Verdict::Failed(why) = judge.verdict(&WAIT, &look(with_another.clone()), BLOCKED_MAX) else {
            panic!("its turn never comes")
        };
        assert!(why.contains("\n  web.2: web.1 goes first: no suitable node among 2 nodes: 2 drained\n"), "{why}");

        let coming = elsewhere(task(&web, 3, "t5", TaskState::Starting));
        let with_one_that_moves = look([with_another, vec![task(&web, 3, "t4", TaskState::Running), coming]].concat());
        assert_eq!(judge.verdict(&WAIT, &with_one_that_moves, BLOCKED_MAX * 9), Verdict::Going, "it is not told yet");
    }

    #[test]
    fn all_services_have_their_turn_to_be_asked_for() {
        let services: BTreeSet<String> = (0..50).map(|number| format!("s{number:02}")).collect();
        let mut asked = Asked::default();
        let three: Vec<String> = (0..3).flat_map(|_| asked.next(&services)).collect();
        assert_eq!(three.iter().collect::<BTreeSet<_>>().len(), 50);
    }

    #[test]
    fn a_replacement_that_does_not_stay_up_ends_the_wait() {
        let web = service("--name web myapp:1");
        let mut again = task(&web, 1, "t4", TaskState::Starting);
        again.failures = FAILURES;
        let old = failed(&web, 1, "t3", "the container ended with exit code 3");
        let tasks = vec![task(&web, 1, "t1", TaskState::Running), elsewhere(old), elsewhere(again)];
        let mut judge = Judge::default();
        assert_eq!(judge.verdict(&WAIT, &look(tasks.clone()), Duration::ZERO), Verdict::Going);
        let Verdict::Failed(why) = judge.verdict(&WAIT, &look(tasks), BLOCKED_MAX) else { panic!("it fails") };
        let reason = "web.1: its replacement failed 3 times in a row: the container ended with exit code 3";
        assert!(why.contains(reason), "{why}");
    }

    /// An image that only the drained node has: each replacement is there for a moment, and the pauses grow.
    #[test]
    fn a_replacement_that_is_rejected_ends_the_wait_also_in_its_pauses() {
        let web = service("--name web myapp:1");
        let rejected = |failures| {
            let mut task = elsewhere(failed(&web, 1, "t3", "no such image: myapp:1"));
            let status = task.status.as_mut().expect("it has one");
            status.state = TaskState::Rejected.into();
            (task.desired, task.failures) = (v1::DesiredState::Running.into(), failures);
            task.created_at += 40_000;
            look(vec![task_of(&web), task])
        };
        let mut judge = Judge::default();
        assert_eq!(judge.verdict(&WAIT, &rejected(1), Duration::ZERO), Verdict::Going);
        assert_eq!(judge.verdict(&WAIT, &rejected(1), BLOCKED_MAX), Verdict::Going, "twice may be chance");
        assert_eq!(judge.verdict(&WAIT, &rejected(2), BLOCKED_MAX), Verdict::Going);
        let mut again = elsewhere(task(&web, 1, "t4", TaskState::Preparing));
        again.failures = FAILURES;
        let old = elsewhere(failed(&web, 1, "t3", "no such image: myapp:1"));
        let trying = look(vec![task_of(&web), old, again]);
        assert_eq!(judge.verdict(&WAIT, &trying, BLOCKED_MAX + Duration::from_secs(1)), Verdict::Going);
        let Verdict::Failed(why) = judge.verdict(&WAIT, &rejected(3), BLOCKED_MAX * 2) else { panic!("it is stuck") };
        assert!(why.contains("web.1: its replacement failed 4 times in a row: no such image: myapp:1\n"), "{why}");
    }

    fn task_of(web: &v1::Service) -> v1::Task {
        task(web, 1, "t1", TaskState::Running)
    }

    const FAILURES: u32 = crate::wait::verdict::FAILURES_MAX;

    #[test]
    fn a_node_that_is_down_is_not_waited_for() {
        let web = service("--name web myapp:1");
        let mut left = task(&web, 1, "t1", TaskState::Running);
        left.desired = v1::DesiredState::Shutdown.into();
        let remains = |contact| departure::remaining(&id("n1"), contact, &read_tasks(vec![left.clone()])).len();
        assert_eq!((remains(Contact::Heard), remains(Contact::Lost)), (1, 0));
    }
}
