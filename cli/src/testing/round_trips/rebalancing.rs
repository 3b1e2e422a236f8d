//! Tasks that move to other nodes.

use expect_test::expect;
use muster_proto::v1::{self, TaskState, rebalance_response as wire};

use super::super::{
    fake::{World, run},
    objects::{id, node, service, task},
};
use super::shown;

fn one_move(service: &v1::Service, task: &v1::Task) -> wire::Move {
    wire::Move {
        task_id: task.id.clone(),
        service_id: service.id.clone(),
        service_name: task.service_name.clone(),
        slot: task.slot.clone(),
        from: id("n1"),
        to: id("n2"),
    }
}

fn moving(task: &v1::Task) -> v1::Task {
    v1::Task { moves_to: Some(id("n2")), ..task.clone() }
}

fn stopping(task: &v1::Task) -> v1::Task {
    v1::Task { desired: v1::DesiredState::Shutdown.into(), ..moving(task) }
}

fn world(rebalance: v1::RebalanceResponse, looks: Vec<Vec<v1::Task>>) -> World {
    let nodes = vec![node("n1", "host1"), node("n2", "host2")];
    World { nodes, rebalance, tasks_then: looks.into(), ..super::world() }
}

fn plan(moves: Vec<wire::Move>) -> v1::RebalanceResponse {
    let db = wire::Staying { service_name: "db".to_owned(), reason: "its tasks cannot run twice at once".to_owned() };
    v1::RebalanceResponse { moves, staying: vec![db], held: None, more: false }
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let web = service("--name web --replicas 2 myapp:1");
    let (one, two) = (task(&web, 1, "t1", TaskState::Running), task(&web, 2, "t2", TaskState::Running));
    let moves = plan(vec![one_move(&web, &one), one_move(&web, &two)]);
    let ran = run(world(v1::RebalanceResponse { more: true, ..moves.clone() }, Vec::new()), "rebalance --dry-run");
    expect![[r#"
        SERVICE   SLOT      FROM      TO        TASK
        web       1         host1     host2     t100000000000000000000000
        web       2         host1     host2     t200000000000000000000000
        stderr: service db stays as it is: its tasks cannot run twice at once
        stderr: 20 moves at most were asked for, and more would be better placed elsewhere; repeat the command for those
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    assert_eq!(ran.world.rebalances, [v1::RebalanceRequest { max_moves: 20, dry_run: true }]);
    let ran = run(world(moves, Vec::new()), "rebalance --max-moves 1 --detach --format '{{.Slot}} {{.From}} {{.To}}'");
    expect![[r#"
        1 host1 host2
        stderr: service db stays as it is: its tasks cannot run twice at once
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    assert_eq!(ran.world.rebalances, [v1::RebalanceRequest { max_moves: 1, dry_run: false }]);
}

#[test]
fn moves_are_followed_to_their_end() {
    let web = service("--name web --replicas 2 myapp:1");
    let (one, two) = (task(&web, 1, "t1", TaskState::Running), task(&web, 2, "t2", TaskState::Running));
    let next = |slot, name, state| v1::Task {
        node_id: Some(id("n2")),
        created_at: one.created_at + 1_000,
        ..task(&web, slot, name, state)
    };
    let mut later = moving(&two);
    later.waiting = Some("it moves to another node once others of the service have".to_owned());
    let mut failed = next(2, "t4", TaskState::Failed);
    failed.status.as_mut().unwrap().error = Some("exit code 3".to_owned());
    let looks = vec![
        vec![moving(&one), next(1, "t3", TaskState::Starting), later],
        vec![stopping(&one), next(1, "t3", TaskState::Running), moving(&two), next(2, "t4", TaskState::Preparing)],
        vec![stopping(&one), next(1, "t3", TaskState::Running), two.clone(), failed],
    ];
    let ran = run(world(plan(vec![one_move(&web, &one), one_move(&web, &two)]), looks.clone()), "rebalance");
    expect![[r#"
        SERVICE   SLOT      FROM      TO        TASK
        web       1         host1     host2     t100000000000000000000000
        web       2         host1     host2     t200000000000000000000000
        stderr: service db stays as it is: its tasks cannot run twice at once
        stderr: web.2: it moves to another node once others of the service have
        stderr: 0 of 2 tasks moved
        stderr: 1 of 2 tasks moved
        stderr: 1 of 2 tasks moved, 1 stayed
        stderr: web.1 moved from host1 to host2
        stderr: web.2 did not move from host1 to host2: its replacement failed: exit code 3
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
    let ran = run(world(plan(vec![one_move(&web, &one)]), looks), "rebalance");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran = run(world(plan(vec![one_move(&web, &one)]), vec![vec![moving(&one)]]), "rebalance --timeout 1ms");
    expect![[r#"
        SERVICE   SLOT      FROM      TO        TASK
        web       1         host1     host2     t100000000000000000000000
        stderr: service db stays as it is: its tasks cannot run twice at once
        stderr: 0 of 1 task moved
        stderr: muster: 1 of 1 move is not over after 1ms; what is left goes on, watch it with `muster node ps`
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn what_keeps_everything_where_it_is_is_said() {
    let ran = run(world(plan(Vec::new()), Vec::new()), "rebalance");
    expect![[r#"
        stderr: service db stays as it is: its tasks cannot run twice at once
        stderr: no other task would be better placed elsewhere; nothing moves
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let held = "no task is moved while a node is down or not heard from: host2; wait until it is back";
    let held = v1::RebalanceResponse { held: Some(held.to_owned()), ..v1::RebalanceResponse::default() };
    let ran = run(world(held, Vec::new()), "rebalance");
    expect![[r#"
        stderr: muster: no task is moved while a node is down or not heard from: host2; wait until it is back
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
    for line in ["rebalance --max-moves 0", "rebalance --max-moves 501", "rebalance --dry-run --detach"] {
        let ran = run(World::default(), line);
        assert_eq!((ran.code, ran.world.rebalances.len()), (2, 0), "{line}");
    }
}
