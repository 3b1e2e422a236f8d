//! Drains that are waited for.

use expect_test::expect;
use muster_proto::v1::{self, TaskState};

use super::super::{
    fake::{World, run},
    objects::{id, node, service, task, waiting},
};
use super::shown;

/// `host1` leads and has the tasks, which look so one after the other.
fn world(looks: Vec<Vec<v1::Task>>) -> World {
    World { nodes: vec![node("n1", "host1"), node("n2", "host2")], tasks_then: looks.into(), ..super::world() }
}

fn elsewhere(mut task: v1::Task) -> v1::Task {
    task.created_at += 1_000;
    task.node_id = task.node_id.map(|_| id("n2"));
    task
}

fn stopping(mut task: v1::Task) -> v1::Task {
    task.desired = v1::DesiredState::Shutdown.into();
    task
}

const TURN: &str = "it moves to another node once others of the service have";

#[test]
fn a_drain_is_followed_until_no_task_is_left() {
    let web = service("--name web --replicas 2 myapp:1");
    let (one, two) = (task(&web, 1, "t1", TaskState::Running), task(&web, 2, "t2", TaskState::Running));
    let mut later = two.clone();
    later.waiting = Some(TURN.to_owned());
    let next = |state| elsewhere(task(&web, 1, "t3", state));
    let last = |state| elsewhere(task(&web, 2, "t4", state));
    let (running, gone) = (TaskState::Running, TaskState::Shutdown);
    let looks = vec![
        vec![one.clone(), later.clone()],
        vec![one.clone(), next(TaskState::Preparing), later],
        vec![stopping(one), next(running), two.clone()],
        vec![task(&web, 1, "t1", gone), next(running), two, waiting(last(TaskState::Pending), "no suitable node")],
        vec![task(&web, 1, "t1", gone), next(running), task(&web, 2, "t2", gone), last(running)],
    ];
    let ran = run(world(looks), "node update --availability drain --wait host1");
    expect![[r#"
        host1
        stderr: web.2: it moves to another node once others of the service have
        stderr: host1: 2 tasks left
        stderr: web.2: no suitable node
        stderr: host1: 1 of 2 tasks left
        stderr: host1: no task left
        stderr: node host1 is drained
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn a_wait_ends_after_its_timeout_and_the_drain_does_not() {
    let web = service("--name web --replicas 2 myapp:1");
    let mut one = task(&web, 1, "t1", TaskState::Running);
    one.waiting = Some(TURN.to_owned());
    let two = stopping(task(&web, 2, "t2", TaskState::Running));
    let ran = run(world(vec![vec![one, two]]), "node update --availability drain --wait --timeout 1ms host1");
    expect![[r#"
        host1
        stderr: web.1: it moves to another node once others of the service have
        stderr: host1: 2 tasks left
        stderr: muster: node host1 is not drained after 1ms: 2 tasks are still on it
        stderr:   web.1: it moves to another node once others of the service have
        stderr:   web.2: stopping
        stderr: the drain goes on; watch it with `muster node ps host1`
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
    assert_eq!(ran.world.nodes_updated.len(), 1);
}

/// Also where nobody waits.
#[test]
fn what_has_no_other_node_is_said_at_once() {
    let warnings = vec!["no other node takes 1 of its tasks".to_owned()];
    let ran = run(World { warnings, ..world(Vec::new()) }, "node update --availability drain host1");
    expect![[r#"
        host1
        stderr: warning: no other node takes 1 of its tasks
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn only_a_drain_can_be_waited_for() {
    for (line, said) in [
        ("node update --wait host1", "--availability"),
        ("node update --availability active --wait host1", "only a drain is waited for"),
        ("node update --availability drain --timeout 5s host1", "--wait"),
        ("node update --availability drain --wait --timeout 0 host1", "a timeout of 0"),
        ("node update --availability drain --wait --role worker host1", "then run `muster node demote host1`"),
        ("node update --availability drain --wait --role worker self", "then run `muster node demote self`"),
    ] {
        let ran = run(world(Vec::new()), line);
        assert!(ran.code == 2 && ran.world.nodes_updated.is_empty(), "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{line}: {}", ran.stderr);
    }
}
