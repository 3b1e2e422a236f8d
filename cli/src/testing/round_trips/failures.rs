//! What failed tasks left, as `service ps` and `service inspect` show it.

use expect_test::{Expect, expect};
use muster_proto::v1;

use super::super::{
    fake::{World, run},
    objects::{failed, id, rollout},
};
use super::{shown, world};

/// An update that failed, of a slot whose rows are gone and of one whose row is there, and a slot that crashed twice.
fn failing() -> World {
    let mut world = world();
    let web = world.services[0].clone();
    let unready = "unhealthy: HTTP 503\nbusy";
    let left = |health: Option<&str>, last: &str| v1::Evidence {
        log_tail: vec!["listening".to_owned(), last.to_owned()],
        health: health.map(str::to_owned),
        oom_killed: health.is_none(),
    };
    let mut unhealthy = failed(&web, 1, "t1new", unready);
    let status = unhealthy.status.as_mut().unwrap();
    status.exit_code = Some(137);
    status.evidence = Some(left(Some("HTTP 503\nbusy"), "\u{1b}[31mno database\u{1b}[0m"));
    let failure = |task: &str, slot, error: &str, evidence| v1::RolloutFailure {
        task_id: id(task),
        slot: Some(v1::Slot { slot: Some(v1::slot::Slot::Number(slot)) }),
        node_id: Some(id("n1")),
        at: crate::testing::NOW.millis() - u64::from(slot) * 60_000,
        error: error.to_owned(),
        exit_code: Some(137),
        evidence: Some(evidence),
    };
    let mut back = rollout("rollback_completed", 10);
    back.failures = vec![
        failure("t1new", 1, unready, left(Some("HTTP 503\nbusy"), "no database")),
        failure("t7gone", 3, "killed: out of memory (limit 64 MiB)", left(None, "loading")),
    ];
    world.services[0].rollout = Some(back);
    let mut earlier = failed(&web, 2, "t2older", "exit code 3");
    earlier.created_at -= 60_000;
    world.tasks.extend([unhealthy, earlier]);
    world
}

#[test]
fn what_failed_tasks_left() {
    let shows = |line: &str, expected: Expect| expected.assert_eq(&shown(&run(failing(), line)));
    shows(
        "service ps web",
        expect![[r#"
            ID             NAME        IMAGE         NODE      DESIRED STATE   CURRENT STATE              ERROR                                                            PORTS
            t10000000000   web.1       myapp:1.0.0   host1     Running         Running 5 seconds ago
            t1new0000000    \_ web.1   myapp:1.0.0   host1     Shutdown        Failed 5 seconds ago       "unhealthy: HTTP 503 busy (exit code 137)"
            t20000000000   web.2       myapp:1.0.0   host1     Running         Starting 5 seconds ago
            t2old0000000    \_ web.2   myapp:1.0.0   host1     Shutdown        Failed about an hour ago   "exit code 3"
            t2older00000    \_ web.2   myapp:1.0.0   host1     Shutdown        Failed 5 seconds ago       "exit code 3"
            t30000000000   web.3       myapp:1.0.0             Running         Pending 2 minutes ago      "no suitable node among 1 node: 1 4 cpu asked, at most 2 free"

            web.1 (task t1new0000000, 5 seconds ago): unhealthy: HTTP 503 busy
              exit code 137
              last output:
                | listening
                |  [31mno database [0m

            web.3 (task t7gone000000, 3 minutes ago): killed: out of memory (limit 64 MiB)
              exit code 137
              killed for want of memory; raise --limit-memory
              last output:
                | listening
                | loading

            web.2 (task t2old0000000, about an hour ago): exit code 3
              last output:
                | no database
            exit code 0
        "#]],
    );
    shows(
        "service ps --filter name=web.2 web",
        expect![[r#"
            ID             NAME        IMAGE         NODE      DESIRED STATE   CURRENT STATE              ERROR           PORTS
            t20000000000   web.2       myapp:1.0.0   host1     Running         Starting 5 seconds ago
            t2old0000000    \_ web.2   myapp:1.0.0   host1     Shutdown        Failed about an hour ago   "exit code 3"
            t2older00000    \_ web.2   myapp:1.0.0   host1     Shutdown        Failed 5 seconds ago       "exit code 3"

            web.2 (task t2old0000000, about an hour ago): exit code 3
              last output:
                | no database
            exit code 0
        "#]],
    );
    shows(
        "service ps --quiet web",
        expect![[r#"
        t10000000000
        t1new0000000
        t20000000000
        t2old0000000
        t2older00000
        t30000000000
        exit code 0
    "#]],
    );
    shows(
        "service ps --format 'table {{.Name}}\\t{{.ExitCode}}\\t{{.OOMKilled}}' web",
        expect![[r#"
        NAME        EXIT CODE   OOM KILLED
        web.1
         \_ web.1   137         false
        web.2
         \_ web.2   3           false
         \_ web.2   3           false
        web.3
        exit code 0
    "#]],
    );
    shows(
        "service ps --filter name=web.1 --format '{{.ExitCode}} {{.HealthOutput}}|{{json .LogTail}}' web",
        expect![[r#"
         |""
        137 HTTP 503
        busy|"listening\n\u001b[31mno database\u001b[0m"
        exit code 0
    "#]],
    );
    let ran = run(failing(), "service inspect --pretty web");
    let told = ran.stdout.lines().skip_while(|line| !line.starts_with("Update status")).take(16);
    expect![[r#"
        Update status:
         State:             rollback_completed
         Started:           20 seconds ago
         Message:           rollback_completed for a reason
         Failed:            slot 1: unhealthy: HTTP 503 busy (exit code 137)
                              last output:
                                | listening
                                | no database
         Failed:            slot 3: killed: out of memory (limit 64 MiB) (exit code 137)
                              killed for want of memory; raise --limit-memory
                              last output:
                                | listening
                                | loading
        Placement:
         On isolation:      keep
        Update:"#]]
    .assert_eq(&told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn what_a_container_wrote_moves_no_cursor() {
    let mut world = failing();
    let wrote = "unhealthy: \u{1b}[2J\nName: db";
    let back = world.services[0].rollout.as_mut().unwrap();
    back.message = wrote.to_owned();
    back.failures[0].error = wrote.to_owned();
    for line in ["service inspect --pretty web", "service ps web", "service ps --format '{{.Error}}' web"] {
        world.tasks.last_mut().unwrap().status.as_mut().unwrap().error = Some(wrote.to_owned());
        let ran = run(world.clone(), line);
        assert!(ran.stdout.contains("unhealthy:  [2J Name: db"), "{line}: {}", ran.stdout);
        assert!(!ran.stdout.contains('\u{1b}'), "{line}: {}", ran.stdout);
    }
}

#[test]
fn no_more_failures_are_told_than_help() {
    let mut world = world();
    let web = world.services[0].clone();
    let crashed = |slot: u32| failed(&web, slot, &format!("c{slot}x"), "exit code 3");
    world.tasks = (1..=10).map(crashed).collect();
    let ran = run(world, "service ps web");
    let told: Vec<&str> =
        ran.stdout.lines().filter(|line| line.contains("(task ") || line.starts_with("and ")).collect();
    assert_eq!(told.len(), 9, "{}", ran.stdout);
    assert_eq!(
        told[8],
        "and 2 earlier failures; --format json shows what those of the table left, `muster service inspect --pretty` \
         those of a rollout"
    );
}
