//! Tasks that must not run where the managers cannot be reached, and what stops them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use muster_agent::{
    clock::SystemClock,
    executor::{
        ContainerState, Executor,
        sim::{Engine, Sim},
    },
    guard,
};
use muster_proto::{
    assignment::Assignment,
    id::TaskId,
    isolation::OnIsolation,
    task_state::{
        DesiredState,
        TaskState::{Running, Shutdown},
    },
};
use tokio::time::{sleep, timeout};

use crate::fake::{
    Manager, PATIENCE, assignment,
    node::{IDENTITY, Node, config},
    task,
};

fn sim() -> Arc<Sim> {
    Arc::new(Sim::new(IDENTITY))
}

/// Task 1 stops in isolation, task 2 goes on.
fn stopping_and_kept() -> [Assignment; 2] {
    let mut stopping = assignment(1, &[]);
    Arc::make_mut(&mut stopping.template).spec.on_isolation = OnIsolation::Stop;
    [stopping, assignment(2, &[])]
}

async fn running(sim: &Sim) -> BTreeSet<TaskId> {
    let found = sim.list().await.unwrap();
    let running = found.into_iter().filter(|found| matches!(found.state, ContainerState::Running { .. }));
    running.map(|found| found.task_id).collect()
}

async fn until_running(sim: &Sim, expected: &[TaskId]) {
    let expected: BTreeSet<TaskId> = expected.iter().copied().collect();
    let wait = async {
        while running(sim).await != expected {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "expected {expected:?}, and it is {:?}", running(sim).await);
}

async fn both_run(sim: &Sim, manager: &Manager) {
    for assignment in stopping_and_kept() {
        let task = assignment.task_id;
        manager.assign(assignment);
        manager.until_state(task, Running).await;
    }
    assert_eq!(running(sim).await.len(), 2);
}

#[tokio::test]
async fn a_node_that_is_cut_off_stops_what_must_not_run_there_and_says_so_later() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    both_run(&sim, &manager).await;
    manager.follow(&manager);
    until_running(&sim, &[task(2)]).await;
    manager.lead();
    let status = manager.until_state(task(1), Shutdown).await;
    assert_eq!(status.message, "shut down: its node was cut off from the managers");

    // The next attempt runs as any other.
    manager.want(task(1), DesiredState::Remove);
    let mut again = stopping_and_kept()[0].clone();
    again.task_id = task(3);
    manager.assign(again);
    manager.until_state(task(3), Running).await;
    assert_eq!(running(&sim).await, [task(2), task(3)].into());
    agent.stop().await;
}

#[tokio::test]
async fn a_restart_within_the_lease_changes_nothing_and_one_after_it_stops_first() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    manager.grant_long_leases();
    let agent = Node::start(dir.path(), &sim, &manager).await;
    both_run(&sim, &manager).await;
    agent.kill().await;
    let agent = Node::start(dir.path(), &sim, &manager).await;
    manager.until_sessions(2).await;
    manager.clear();
    manager.end_sessions();
    manager.until_sessions(3).await;
    assert_eq!(running(&sim).await.len(), 2);
    assert_eq!(sim.starts().len(), 2);
    agent.kill().await;

    // What is known of the lease is lost, and with it the right to run.
    fs::remove_file(dir.path().join("lease")).unwrap();
    let agent = Node::start_with(config(dir.path(), &sim, Vec::new())).await;
    until_running(&sim, &[task(2)]).await;
    agent.stop().await;
}

/// As on a full disk. It is in order again when this is dropped.
struct Broken {
    tasks: PathBuf,
    away: PathBuf,
}

impl Broken {
    fn of(dir: &Path) -> Self {
        let broken = Self { tasks: dir.join("tasks"), away: dir.join("away") };
        fs::rename(&broken.tasks, &broken.away).unwrap();
        fs::write(&broken.tasks, "no folder").unwrap();
        broken
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        fs::remove_file(&self.tasks).unwrap();
        fs::rename(&self.away, &self.tasks).unwrap();
    }
}

/// The managers replace it when the lease is over, wherever it waits.
#[tokio::test]
async fn a_task_that_waits_for_the_disk_while_the_lease_ends_is_not_started() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    both_run(&sim, &manager).await;
    let disk = Broken::of(dir.path());
    let mut waits = stopping_and_kept()[0].clone();
    waits.task_id = task(3);
    manager.assign(waits);
    let is_hindered = |problem: &String| problem.contains("takes no new tasks");
    manager.until_described(|description| description.problems.iter().any(is_hindered)).await;
    manager.follow(&manager);
    until_running(&sim, &[task(2)]).await;
    drop(disk);
    let file = dir.path().join("tasks").join(format!("{}.json", task(3)));
    timeout(PATIENCE, async {
        while !file.exists() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it is written in the end");
    manager.lead();
    manager.until_state(task(3), Shutdown).await;
    assert_eq!(sim.starts(), [task(1), task(2)]);
    agent.stop().await;
}

/// What was before the task was asked for is nothing to it, though its agent began in an outage.
#[tokio::test]
async fn a_task_that_is_assigned_before_the_engine_answers_runs_once_it_does() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    sim.set_engine(Engine::Away);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    manager.assign(stopping_and_kept()[0].clone());
    manager.until("a task that waits", |heard| heard.hindered(task(1)).then_some(())).await;
    sim.set_engine(Engine::Up);
    manager.until_state(task(1), Running).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_guard_stops_what_a_dead_agent_cannot() {
    let (dir, sim, manager) = (tempfile::tempdir().unwrap(), sim(), Manager::start().await);
    let agent = Node::start(dir.path(), &sim, &manager).await;
    both_run(&sim, &manager).await;
    let executor: Arc<dyn Executor> = sim.clone();
    let path = dir.path().to_owned();
    let other = executor.clone();
    let guard = tokio::spawn(async move { guard::run(&path, executor, Arc::new(SystemClock)).await });
    // While the agent is awake and in a session there is nothing to do.
    let sessions = manager.sessions();
    manager.end_sessions();
    manager.until_sessions(sessions + 1).await;
    agent.kill().await;
    until_running(&sim, &[task(2)]).await;
    timeout(PATIENCE, guard).await.expect("nothing is left to guard").unwrap().unwrap();
    timeout(PATIENCE, guard::run(&dir.path().join("none"), other, Arc::new(SystemClock)))
        .await
        .expect("at once")
        .expect_err("there is no such folder");
}
