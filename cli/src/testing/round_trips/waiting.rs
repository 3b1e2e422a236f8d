//! Commands that wait until the service is as asked.

use expect_test::expect;
use muster_proto::v1::{self, TaskState};

use super::super::{
    fake::{World, run},
    objects::{failed, id, rollout, service, task},
};
use super::{shown, world};

/// The states that the service goes through, one snapshot each.
fn watch(snapshots: Vec<(v1::Service, Vec<v1::Task>)>) -> World {
    let watched =
        snapshots.into_iter().map(|(service, tasks)| v1::WatchServiceResponse { service: Some(service), tasks });
    World { watched: watched.collect(), ..world() }
}

#[test]
fn create_waits_until_all_tasks_run() {
    let web = service("--name web --replicas 2 --health-tcp 80 myapp:1");
    let (one, two) = (task(&web, 1, "t1", TaskState::Running), task(&web, 2, "t2", TaskState::Running));
    let preparing = task(&web, 2, "t2", TaskState::Preparing);
    let world = watch(vec![(web.clone(), vec![]), (web.clone(), vec![one.clone(), preparing]), (web, vec![one, two])]);
    let ran = run(world.clone(), "service create --name web --replicas 2 --health-tcp 80 myapp:1");
    expect![[r#"
        sweb000000000000000000000
        stderr: warning: the image has no tag
        stderr: web: 0 of 2 running, 2 waiting for its turn
        stderr: web: 1 of 2 running, 1 preparing
        stderr: web: 2 of 2 running
        stderr: service web converged: 2 tasks running
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let ran = run(world, "service create --quiet --name web --replicas 2 --health-tcp 80 myapp:1");
    expect![[r#"
        sweb000000000000000000000
        stderr: warning: the image has no tag
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn a_slot_that_keeps_failing_ends_the_wait() {
    let web = service("--name web myapp:1");
    let mut again = task(&web, 1, "t4", TaskState::Starting);
    again.failures = 3;
    let old = failed(&web, 1, "t3", "exit code 3");
    let ran = run(watch(vec![(web, vec![old, again])]), "service create --name web myapp:1");
    expect![[r#"
        sweb000000000000000000000
        stderr: warning: the image has no tag
        stderr: web.1: task t30000000000 failed: exit code 3
        stderr: web: 0 of 1 running, 1 starting
        stderr: muster: service web does not stay up: web.1 failed 3 times in a row
        stderr:   web.1 (task t30000000000): exit code 3
        stderr:     last output:
        stderr:       | no database
        stderr: it is tried again with growing pauses; look at `muster service logs web`, then mend it with `muster service update web` or remove it with `muster service rm web`
        exit code 1
    "#]].assert_eq(&shown(&ran));
}

#[test]
fn an_update_that_is_rolled_back_fails_with_its_evidence() {
    let mut web = service("--name web myapp:1");
    web.version = 30;
    let mut back = rollout("rollback_completed", web.template_version);
    back.failures.push(v1::RolloutFailure {
        task_id: id("t9"),
        slot: Some(v1::Slot { slot: Some(v1::slot::Slot::Number(1)) }),
        node_id: Some(id("n1")),
        at: back.started_at,
        error: "unhealthy: HTTP 503".to_owned(),
        exit_code: Some(137),
        evidence: Some(v1::Evidence {
            log_tail: vec!["listening".to_owned(), "cannot reach db".to_owned()],
            health: Some("HTTP 503".to_owned()),
            oom_killed: true,
        }),
    });
    web.rollout = Some(back);
    let ran = run(watch(vec![(web, vec![])]), "service update --image myapp:2 web");
    expect![[r#"
        web
        stderr: web: 0 of 1 running, 1 waiting for its turn
        stderr: muster: service web: rollback_completed for a reason
        stderr:   web.1 (task t90000000000): unhealthy: HTTP 503
        stderr:     exit code 137
        stderr:     killed for want of memory; raise --limit-memory
        stderr:     last output:
        stderr:       | listening
        stderr:       | cannot reach db
        stderr: the service runs its previous spec again; `muster service ps web` shows the tasks that failed
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn a_stream_that_breaks_is_opened_again() {
    let web = service("--name web --health-tcp 80 myapp:1");
    let preparing = task(&web, 1, "t1", TaskState::Preparing);
    let running = task(&web, 1, "t1", TaskState::Running);
    let world = watch(vec![(web.clone(), vec![preparing]), (web, vec![running])]);
    let ran = run(World { breaks_left: 1, ..world.clone() }, "service create --name web --health-tcp 80 myapp:1");
    expect![[r#"
        sweb000000000000000000000
        stderr: warning: the image has no tag
        stderr: web: 0 of 1 running, 1 preparing
        stderr: lost sight of the service, the daemon or the leader is gone; trying again
        stderr: web: 1 of 1 running
        stderr: service web converged: 1 task running
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let ran = run(World { unavailable_left: 1, ..world }, "service create --name web --health-tcp 80 myapp:1");
    assert_eq!(
        ran.code, 0,
        "the change was accepted: a stream that cannot be opened yet is no failure\n{}",
        ran.stderr
    );
}

#[test]
fn a_scale_under_a_held_update_succeeds_and_says_that_it_is_held() {
    let mut web = service("--name web --replicas 2 --health-tcp 80 myapp:1");
    (web.version, web.template_version) = (20, 15);
    web.rollout = Some(v1::Rollout { hold: Some("by-hand".to_owned()), ..rollout("paused", 15) });
    let old = |slot: u32, name: &str, state| v1::Task { template_version: 10, ..task(&web, slot, name, state) };
    let (one, two) = (old(1, "t1", TaskState::Running), old(2, "t2", TaskState::Running));
    let starting = old(2, "t2", TaskState::Starting);
    let mut world = watch(vec![(web.clone(), vec![one.clone(), starting]), (web.clone(), vec![one, two])]);
    world.services = vec![v1::Service { spec: service("--name web --health-tcp 80 myapp:1").spec, ..web }];
    let ran = run(world.clone(), "service update --quiet --replicas 2 web");
    assert_eq!(shown(&ran), "web\nexit code 0\n");
    let ran = run(world.clone(), "service update --quiet --label-add a=b web");
    assert_eq!(shown(&ran), "web\nexit code 0\n", "labels are set, held or not");
    let ran = run(world, "service scale web=2");
    assert_eq!(ran.world.updated.len(), 1);
    expect![[r#"
        web scaled to 2
        stderr: web: 1 of 2 running, 1 starting
        stderr: web: 2 of 2 running
        stderr: service web converged: 2 tasks running
        stderr: the update of service web is still held: paused for a reason
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn a_scale_to_the_number_there_is_takes_no_held_update_up_again() {
    let mut web = service("--name web --replicas 2 --health-tcp 80 myapp:1");
    web.rollout = Some(v1::Rollout { hold: Some("by-hand".to_owned()), ..rollout("paused", 10) });
    let running = [task(&web, 1, "t1", TaskState::Running), task(&web, 2, "t2", TaskState::Running)].to_vec();
    let world = World { services: vec![web.clone()], ..watch(vec![(web, running)]) };
    let held = "service web converged: 2 tasks running\nthe update of service web is still held: paused for a reason\n";
    for line in ["service scale web=2", "service update --replicas 2 web"] {
        let ran = run(world.clone(), line);
        assert_eq!((ran.code, ran.world.updated.len()), (0, 0), "{line}: {}", ran.stderr);
        assert!(ran.stderr.ends_with(held), "{line}: {}", ran.stderr);
    }
    // What is to go on is said without a number.
    let ran = run(world, "service update --detach web");
    assert_eq!(ran.world.updated.len(), 1);
}
