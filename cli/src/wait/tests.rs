//! Scenes of the judge: snapshots at their seconds, and what it says to each.

use std::time::Duration;

use expect_test::{Expect, expect};
use muster_proto::v1::{self, TaskState};

use super::verdict::{Change, Goal, Judge, RolloutBefore, Snapshot, Verdict};
use crate::testing::{
    NOW,
    objects::{failed, read_service, read_tasks, rollout, service, task, waiting},
};

struct Scene {
    judge: Judge,
    said: String,
}

impl Scene {
    fn new(change: Change) -> Self {
        Self::of(Goal { change, version: 10, rollout_before: None })
    }

    /// The service had this rollout before the change.
    fn after(before: &v1::Rollout) -> Self {
        let mut had = web("");
        had.rollout = Some(before.clone());
        let rollout_before = read_service(had).rollout.as_ref().map(RolloutBefore::of);
        Self::of(Goal { change: Change::Spec, version: 10, rollout_before })
    }

    fn of(goal: Goal) -> Self {
        Self { judge: Judge::new(goal, "web"), said: String::new() }
    }

    fn at(mut self, seconds: u64, service: &v1::Service, tasks: &[&v1::Task]) -> Self {
        let snapshot = Snapshot {
            service: Some(read_service(service.clone())),
            tasks: read_tasks(tasks.iter().copied().cloned().collect()),
        };
        let verdict = match self.judge.verdict(&snapshot, Duration::from_secs(seconds)) {
            Verdict::Going => "going".to_owned(),
            Verdict::Converged(text) => text,
            Verdict::Failed(text) => format!("failed: {text}"),
        };
        self.said.push_str(&format!("{seconds}s {verdict}\n"));
        self
    }

    fn says(self, expected: Expect) {
        expected.assert_eq(&self.said);
    }
}

fn web(line: &str) -> v1::Service {
    service(&format!("--name web {line} app:1"))
}

fn failing(mut task: v1::Task, failures: u32) -> v1::Task {
    task.failures = failures;
    task
}

#[test]
fn a_new_service_must_stay_up_for_a_moment() {
    let web = web("--replicas 2");
    let one = task(&web, 1, "t1", TaskState::Running);
    let two = task(&web, 2, "t2", TaskState::Running);
    let starting = task(&web, 2, "t2", TaskState::Starting);
    Scene::new(Change::Spec)
        .at(0, &web, &[])
        .at(1, &web, &[&one, &starting])
        .at(2, &web, &[&one, &two])
        .at(3, &web, &[&one, &two])
        .at(4, &web, &[&one, &two])
        .says(expect![[r#"
              0s going
              1s going
              2s going
              3s going
              4s service web converged: 2 tasks running
        "#]]);
}

#[test]
fn a_health_check_is_believed_at_once_and_so_are_tasks_that_ran_before() {
    let checked = web("--health-tcp 80");
    let running = task(&checked, 1, "t1", TaskState::Running);
    Scene::new(Change::Spec).at(0, &checked, &[]).at(1, &checked, &[&running]).says(expect![[r#"
          0s going
          1s service web converged: 1 task running
    "#]]);
    let web = web("--replicas 1");
    let running = task(&web, 1, "t1", TaskState::Running);
    Scene::new(Change::Spec).at(0, &web, &[&running]).says(expect![[r#"
          0s service web converged: 1 task running
    "#]]);
}

#[test]
fn a_task_that_failed_before_must_show_more() {
    let web = web("");
    let again = failing(task(&web, 1, "t2", TaskState::Running), 1);
    Scene::new(Change::Spec)
        .at(0, &web, &[])
        .at(1, &web, &[&again])
        .at(5, &web, &[&again])
        .at(11, &web, &[&again])
        .says(expect![[r#"
            0s going
            1s going
            5s going
            11s service web converged: 1 task running
        "#]]);
}

#[test]
fn no_replicas_are_as_asked_at_once() {
    let web = web("--replicas 0");
    let stopping = task(&service("--name web app:1"), 1, "t1", TaskState::Shutdown);
    Scene::new(Change::Spec).at(0, &web, &[&stopping]).says(expect![[r#"
          0s service web converged: 0 tasks running
    "#]]);
}

#[test]
fn a_task_that_no_node_takes_ends_the_wait_when_that_lasts() {
    let web = web("--replicas 7 --reserve-cpu 99");
    let one = task(&web, 1, "t1", TaskState::Running);
    let blocked = |slot: u32| {
        waiting(task(&web, slot, &format!("t{slot}"), TaskState::Pending), "no suitable node among 1 node: 1 down")
    };
    let blocked: Vec<v1::Task> = (2..=7).map(blocked).collect();
    let tasks: Vec<&v1::Task> = blocked.iter().chain([&one]).collect();
    let free: Vec<v1::Task> = (1..=7).map(|slot| task(&web, slot, &format!("t{slot}"), TaskState::Starting)).collect();
    let free: Vec<&v1::Task> = free.iter().collect();
    Scene::new(Change::Spec)
        .at(1, &web, &tasks)
        .at(10, &web, &tasks)
        .at(11, &web, &free)
        .at(12, &web, &tasks)
        .at(21, &web, &tasks)
        .at(22, &web, &tasks)
        .says(expect![[r#"
            1s going
            10s going
            11s going
            12s going
            21s going
            22s failed: service web cannot run as asked: 6 of 7 tasks wait for a node
              web.2: no suitable node among 1 node: 1 down
              web.3: no suitable node among 1 node: 1 down
              web.4: no suitable node among 1 node: 1 down
              web.5: no suitable node among 1 node: 1 down
              web.6: no suitable node among 1 node: 1 down
              and 1 more
            what waits starts as soon as a node takes it; look at `muster service ps web` and `muster node ls`
        "#]]);
}

#[test]
fn a_restart_delay_is_no_blockade() {
    let web = web("");
    let mut delayed = waiting(task(&web, 1, "t2", TaskState::Pending), "restart delayed until 2026-11-22");
    delayed.start_after = Some(NOW.millis() + 60_000);
    Scene::new(Change::Spec).at(0, &web, &[&delayed]).at(60, &web, &[&delayed]).says(expect![[r#"
        0s going
        60s going
    "#]]);
}

#[test]
fn failures_in_a_row_end_the_wait() {
    let web = web("--replicas 2");
    let one = task(&web, 1, "t1", TaskState::Running);
    let old = failed(&web, 2, "t2", "cannot start the container: no such command");
    let again = task(&web, 2, "t3", TaskState::Starting);
    Scene::new(Change::Spec)
        .at(0, &web, &[&one, &old, &failing(again.clone(), 1)])
        .at(1, &web, &[&one, &old, &failing(again.clone(), 2)])
        .at(2, &web, &[&one, &old, &failing(again, 3)])
        .says(expect![[r#"
            0s going
            1s going
            2s failed: service web does not stay up: web.2 failed 3 times in a row
              web.2 (task t20000000000): cannot start the container: no such command
                exit code 3
                last output:
                  | no database
            it is tried again with growing pauses; look at `muster service logs web`, then mend it with `muster service update web` or remove it with `muster service rm web`
        "#]]);
}

#[test]
fn a_slot_that_is_given_up_ends_the_wait() {
    let web = web("--restart-condition none");
    let old = failed(&web, 1, "t1", "exit code 3");
    let scene = Scene::new(Change::Spec).at(0, &web, &[&old]).at(2, &web, &[&old]).at(3, &web, &[&old]);
    scene.says(expect![[r#"
        0s going
        2s going
        3s failed: service web is given up in 1 slot: its restart policy allows no further attempt
          web.1 (task t10000000000): exit code 3
            last output:
              | no database
        look at `muster service logs web`, then start it anew with `muster service update --force web`
    "#]]);
}

#[test]
fn a_slot_that_waits_for_its_next_attempt_is_not_given_up() {
    let web = web("--restart-max-attempts 2");
    let rejected = |name: &str, failures| {
        let mut task = failing(failed(&web, 1, name, "no such image: app:1"), failures);
        task.status.as_mut().unwrap().state = TaskState::Rejected.into();
        task.waiting = Some("restart delayed until 2026-11-22T00:00:04.000Z".to_owned());
        task
    };
    let (first, second) = (rejected("t1", 0), rejected("t2", 1));
    let mut last = rejected("t3", 2);
    last.waiting = Some("all 2 restarts are used up; update the service, or use --force".to_owned());
    Scene::new(Change::Spec)
        .at(0, &web, &[&first])
        .at(9, &web, &[&first])
        .at(10, &web, &[&second])
        .at(20, &web, &[&last])
        .at(23, &web, &[&last])
        .says(expect![[r#"
            0s going
            9s going
            10s going
            20s going
            23s failed: service web is given up in 1 slot: its restart policy allows no further attempt
              web.1 (task t30000000000): no such image: app:1
                exit code 3
                last output:
                  | no database
            look at `muster service logs web`, then start it anew with `muster service update --force web`
        "#]]);
}

#[test]
fn a_scale_waits_for_replicas_while_an_update_is_held_and_says_that_it_is() {
    let mut web = web("--replicas 2");
    web.template_version = 20;
    let mut before = web.clone();
    before.template_version = 10;
    let old = |slot: u32, name: &str, state| task(&before, slot, name, state);
    let (one, two) = (old(1, "t1", TaskState::Running), old(2, "t2", TaskState::Starting));
    let grown = old(2, "t2", TaskState::Running);
    let canary = task(&web, 1, "t3", TaskState::Running);
    let held = v1::Rollout { hold: Some("by-hand".to_owned()), ..rollout("paused", 20) };
    web.rollout = Some(held.clone());
    Scene::after(&held)
        .at(0, &web, &[&one])
        .at(1, &web, &[&one, &two])
        .at(2, &web, &[&one, &grown])
        .at(4, &web, &[&one, &grown])
        .says(expect![[r#"
            0s going
            1s going
            2s going
            4s service web converged: 2 tasks running
            the update of service web is still held: paused for a reason
        "#]]);
    let held = v1::Rollout { hold: Some("canary".to_owned()), ..rollout("paused", 20) };
    web.rollout = Some(held.clone());
    Scene::after(&held).at(0, &web, &[&canary]).at(1, &web, &[&canary, &grown]).at(3, &web, &[&canary, &grown]).says(
        expect![[r#"
            0s going
            1s going
            3s service web converged: 2 tasks running
            the update of service web is still held: paused for a reason
        "#]],
    );
    // What cannot be had is told as without an update.
    let blocked = waiting(old(2, "t4", TaskState::Pending), "no suitable node among 1 node: 1 paused");
    Scene::after(&held).at(0, &web, &[&canary, &blocked]).at(10, &web, &[&canary, &blocked]).says(expect![[r#"
        0s going
        10s failed: service web cannot run as asked: 1 of 2 tasks waits for a node
          web.2: no suitable node among 1 node: 1 paused
        what waits starts as soon as a node takes it; look at `muster service ps web` and `muster node ls`
        the update of service web is still held: paused for a reason
    "#]]);
}

#[test]
fn an_update_that_is_paused_while_a_scale_is_waited_for_is_told_with_what_failed() {
    let mut web = web("--replicas 2");
    web.template_version = 20;
    let moving = rollout("updating", 20);
    web.rollout = Some(moving.clone());
    let old = |slot: u32, name: &str| v1::Task { template_version: 10, ..task(&web, slot, name, TaskState::Running) };
    let (one, two) = (old(1, "t1"), old(2, "t2"));
    let scene = Scene::after(&moving).at(0, &web, &[&one, &two]);
    let failure = v1::RolloutFailure {
        task_id: "t3".to_owned(),
        slot: one.slot.clone(),
        node_id: None,
        at: NOW.millis(),
        error: "exit code 3".to_owned(),
        exit_code: Some(3),
        evidence: None,
    };
    web.rollout = Some(v1::Rollout { failures: vec![failure], ..rollout("paused", 20) });
    scene.at(1, &web, &[&one, &two]).says(expect![[r#"
        0s going
        1s failed: service web: paused for a reason
          web.1 (task t3): exit code 3
    "#]]);
}

#[test]
fn a_new_replica_under_a_held_update_is_judged_by_its_own_health_check() {
    let mut web = web("--replicas 2 --health-tcp 80");
    web.template_version = 20;
    let held = rollout("paused", 20);
    web.rollout = Some(held.clone());
    let before = v1::Service { template_version: 10, ..self::web("--replicas 2") };
    let (one, two) = (task(&before, 1, "t1", TaskState::Running), task(&before, 2, "t2", TaskState::Running));
    Scene::after(&held).at(0, &web, &[&one]).at(1, &web, &[&one, &two]).at(3, &web, &[&one, &two]).says(expect![[r#"
        0s going
        1s going
        3s service web converged: 2 tasks running
        the update of service web is still held: paused for a reason
    "#]]);
}

#[test]
fn what_is_rejected_again_and_again_is_counted_with_the_last_time() {
    let web = web("");
    let rejected = |name: &str, failures| {
        let mut task = failing(failed(&web, 1, name, "no such image: app:1"), failures);
        task.status.as_mut().unwrap().state = TaskState::Rejected.into();
        task.waiting = Some("restart delayed until 2026-11-22T00:00:04.000Z".to_owned());
        task
    };
    let (second, third) = (rejected("t2", 1), rejected("t3", 2));
    Scene::new(Change::Spec).at(0, &web, &[&second]).at(1, &web, &[&second, &third]).says(expect![[r#"
        0s going
        1s failed: service web does not stay up: web.1 failed 3 times in a row
          web.1 (task t30000000000): no such image: app:1
            exit code 3
            last output:
              | no database
        it is tried again with growing pauses; look at `muster service logs web`, then mend it with `muster service update web` or remove it with `muster service rm web`
    "#]]);
}

#[test]
fn an_attempt_that_is_a_long_way_off_is_not_waited_for() {
    let web = web("--restart-delay 1h");
    let mut rejected = failed(&web, 1, "t1", "no such image: app:1");
    rejected.status.as_mut().unwrap().state = TaskState::Rejected.into();
    rejected.waiting = Some("restart delayed until 2026-11-22T01:00:00.000Z".to_owned());
    Scene::new(Change::Spec).at(0, &web, &[&rejected]).says(expect![[r#"
        0s failed: service web does not stay up: web.1 failed, and its next attempt is a long way off: restart delayed until 2026-11-22T01:00:00.000Z
          web.1 (task t10000000000): no such image: app:1
            exit code 3
            last output:
              | no database
        look at `muster service logs web`, then mend it with `muster service update web`, or try again at once with `muster service update --force web`
    "#]]);
    let crashed = failed(&web, 1, "t1", "exit code 3");
    let mut next = failing(task(&web, 1, "t2", TaskState::Ready), 1);
    next.desired = v1::DesiredState::Ready.into();
    next.start_after = Some(NOW.millis() + 3_600_000);
    Scene::new(Change::Spec).at(0, &web, &[&crashed, &next]).says(expect![[r#"
        0s failed: service web does not stay up: web.1 failed, and its next attempt is a long way off: restart delayed until 2026-11-22T01:00:00.000Z
          web.1 (task t10000000000): exit code 3
            last output:
              | no database
        look at `muster service logs web`, then mend it with `muster service update web`, or try again at once with `muster service update --force web`
    "#]]);
}

#[test]
fn a_service_that_keeps_ending_with_success_is_told_with_what_it_left() {
    let web = web("");
    let mut done = task(&web, 1, "t1", TaskState::Complete);
    let status = done.status.as_mut().unwrap();
    (status.message, status.exit_code) = ("finished".to_owned(), Some(0));
    status.evidence = Some(v1::Evidence { log_tail: vec!["nothing to do".to_owned()], ..v1::Evidence::default() });
    done.created_at -= 1;
    let again = failing(task(&web, 1, "t2", TaskState::Ready), 3);
    Scene::new(Change::Spec).at(0, &web, &[&done, &again]).says(expect![[r#"
        0s failed: service web does not stay up: web.1 ended 3 times in a row
          web.1 (task t10000000000): finished
            exit code 0
            last output:
              | nothing to do
        it is tried again with growing pauses; look at `muster service logs web`, then mend it with `muster service update web` or remove it with `muster service rm web`
    "#]]);
}

#[test]
fn what_a_container_wrote_moves_no_cursor() {
    let mut web = web("");
    let wrote = "unhealthy: \u{1b}[2J\nservice web converged";
    let failure = v1::RolloutFailure {
        task_id: "t1".to_owned(),
        slot: task(&web, 1, "t1", TaskState::Failed).slot,
        node_id: None,
        at: NOW.millis(),
        error: wrote.to_owned(),
        exit_code: None,
        evidence: None,
    };
    let mut said = String::new();
    let old = failed(&web, 1, "t1", wrote);
    let again = failing(task(&web, 1, "t2", TaskState::Starting), 3);
    said += &Scene::new(Change::Spec).at(0, &web, &[&old, &again]).said;
    let blocked = waiting(task(&web, 1, "t2", TaskState::Pending), "engine unavailable: \u{1b}[2J");
    said += &Scene::new(Change::Spec).at(0, &web, &[&blocked]).at(10, &web, &[&blocked]).said;
    web.rollout =
        Some(v1::Rollout { message: wrote.to_owned(), failures: vec![failure], ..rollout("rollback_paused", 10) });
    said += &Scene::new(Change::Spec).at(0, &web, &[]).said;
    assert!(said.contains("[2J") && !said.contains('\u{1b}') && !said.contains("\nservice"), "{said}");
}

#[test]
fn a_task_that_completed_and_is_not_restarted_is_done() {
    let web = web("--restart-condition on-failure");
    let done = task(&web, 1, "t1", TaskState::Complete);
    Scene::new(Change::Spec).at(0, &web, &[&done]).says(expect![[r#"
          0s service web converged: 0 tasks running, 1 complete
    "#]]);
}

#[test]
fn a_rollout_is_waited_for_and_its_monitor_believed() {
    let mut web = web("");
    web.template_version = 20;
    let new = task(&web, 1, "t2", TaskState::Running);
    web.rollout = Some(rollout("updating", 20));
    let scene = Scene::new(Change::Spec).at(0, &web, &[]).at(500, &web, &[&new]);
    web.rollout = Some(rollout("completed", 20));
    scene.at(501, &web, &[&new]).says(expect![[r#"
        0s going
        500s going
        501s service web converged: 1 task running
    "#]]);
}

#[test]
fn before_the_rollout_begins_the_old_tasks_do_not_count() {
    let mut web = web("");
    let old = task(&web, 1, "t1", TaskState::Running);
    web.rollout = Some(rollout("completed", 10));
    web.template_version = 20;
    Scene::new(Change::Spec).at(0, &web, &[&old]).at(9, &web, &[&old]).says(expect![[r#"
          0s going
          9s going
    "#]]);
}

#[test]
fn an_update_that_did_not_complete_fails() {
    for state in ["paused", "rollback_paused", "rollback_completed"] {
        let mut web = web("");
        web.rollout = Some(rollout(state, 10));
        let old = task(&web, 1, "t1", TaskState::Starting);
        let said = Scene::new(Change::Spec).at(0, &web, &[&old]).said;
        assert!(said.starts_with(&format!("0s failed: service web: {state} for a reason")), "{state}: {said}");
    }
}

#[test]
fn canaries_that_work_are_as_far_as_an_update_goes_by_itself() {
    let mut web = web("--replicas 2 --canary 1");
    let canary = task(&web, 1, "t2", TaskState::Running);
    let hold = Some("canary".to_owned());
    web.rollout = Some(v1::Rollout { hold, ..rollout("paused", 10) });
    Scene::new(Change::Spec).at(0, &web, &[&canary]).says(expect![[r#"
        0s service web: paused for a reason
    "#]]);
}

#[test]
fn a_rollback_that_was_asked_for_is_a_success() {
    let mut web = web("");
    let running = task(&web, 1, "t1", TaskState::Running);
    web.rollout = Some(rollout("rollback_started", 10));
    let scene = Scene::new(Change::Rollback).at(0, &web, &[]);
    web.rollout = Some(rollout("rollback_completed", 10));
    scene.at(1, &web, &[&running]).says(expect![[r#"
          0s going
          1s service web converged: 1 task running
    "#]]);
}

#[test]
fn a_rollback_of_long_ago_says_nothing_about_a_scale() {
    let mut web = web("--replicas 2");
    let past = rollout("rollback_completed", 10);
    web.rollout = Some(past.clone());
    let one = task(&web, 1, "t1", TaskState::Running);
    let two = task(&web, 2, "t2", TaskState::Running);
    Scene::after(&past).at(0, &web, &[&one]).at(1, &web, &[&one, &two]).at(3, &web, &[&one, &two]).says(expect![[r#"
              0s going
              1s going
              3s service web converged: 2 tasks running
        "#]]);
}

#[test]
fn an_older_version_is_not_the_one_asked_for() {
    let mut web = web("");
    let running = task(&web, 1, "t1", TaskState::Running);
    web.version = 9;
    Scene::new(Change::Spec).at(0, &web, &[&running]).at(99, &web, &[&running]).says(expect![[r#"
        0s going
        99s going
    "#]]);
}

#[test]
fn a_global_service_without_a_node_is_not_as_asked() {
    let web = web("--mode global --constraint node.labels.zone==b");
    Scene::new(Change::Spec).at(0, &web, &[]).at(4, &web, &[]).at(5, &web, &[]).says(expect![[r#"
          0s going
          4s going
          5s failed: global service web has no task: no node is active and meets its constraints; look at `muster node ls` and `muster service inspect web`
    "#]]);
}

#[test]
fn a_service_that_is_removed_meanwhile_is_not_as_asked() {
    let goal = Goal { change: Change::Spec, version: 0, rollout_before: None };
    let verdict = Judge::new(goal, "web").verdict(&Snapshot { service: None, tasks: Vec::new() }, Duration::ZERO);
    assert!(matches!(verdict, Verdict::Failed(text) if text.contains("was removed")));
}
