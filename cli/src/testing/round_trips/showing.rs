//! Commands that only look.

use expect_test::{Expect, expect};
use muster_proto::v1;

use super::super::{
    fake::{World, run},
    objects::{failed, id, node, rollout},
};
use super::{check, shown, world};

#[test]
fn lists_of_services() {
    check(
        "service ls",
        expect![[r#"
        ID             NAME      MODE         REPLICAS   IMAGE         PORTS
        sagent000000   agent     global       2/3        agent:2
        sweb00000000   web       replicated   2/3        myapp:1.0.0   *:8000->8000/tcp
        exit code 0
    "#]],
    );
    check(
        "service ls --filter mode=global --quiet",
        expect![[r#"
        sagent000000
        exit code 0
    "#]],
    );
    check(
        "service ls --filter label=team --no-trunc",
        expect![[r#"
        ID                          NAME      MODE         REPLICAS   IMAGE         PORTS
        sweb000000000000000000000   web       replicated   2/3        myapp:1.0.0   *:8000->8000/tcp
        exit code 0
    "#]],
    );
    check(
        r"service ls --format 'table {{.Name}}\t{{.Replicas}}'",
        expect![[r#"
        NAME      REPLICAS
        agent     2/3
        web       2/3
        exit code 0
    "#]],
    );
    check(
        "service ls --filter name=web --format json",
        expect![[r#"
        {"ID":"sweb00000000","Name":"web","Mode":"replicated","Replicas":"2/3","Image":"myapp:1.0.0","Ports":"*:8000->8000/tcp","Labels":"team=shop","UpdateStatus":""}
        exit code 0
    "#]],
    );
    check(
        "service ls --format '{{.Size}}'",
        expect![[r#"
        stderr: muster: --format: there is no field .Size; the fields are ID, Name, Mode, Replicas, Image, Ports, Labels, UpdateStatus
        exit code 2
    "#]],
    );
    check(
        "service ls --filter size=1",
        expect![[r#"
        stderr: muster: there is no filter 'size'; this command has name, id, label, mode
        exit code 2
    "#]],
    );
}

#[test]
fn tasks() {
    check(
        "service ps web",
        expect![[r#"
            ID             NAME        IMAGE         NODE      DESIRED STATE   CURRENT STATE              ERROR                                                            PORTS
            t10000000000   web.1       myapp:1.0.0   host1     Running         Running 5 seconds ago
            t20000000000   web.2       myapp:1.0.0   host1     Running         Starting 5 seconds ago
            t2old0000000    \_ web.2   myapp:1.0.0   host1     Shutdown        Failed about an hour ago   "exit code 3"
            t30000000000   web.3       myapp:1.0.0             Running         Pending 2 minutes ago      "no suitable node among 1 node: 1 4 cpu asked, at most 2 free"

            web.2 (task t2old0000000, about an hour ago): exit code 3
              last output:
                | no database
            exit code 0
        "#]],
    );
    check(
        "service ps --filter desired-state=shutdown --format '{{.Name}} {{.Error}}' web",
        expect![[r#"
        web.2 "exit code 3"
        exit code 0
    "#]],
    );
    check(
        "service ps --filter desired-state=gone web",
        expect![[r#"
        stderr: muster: there is no desired-state 'gone'; it is one of ready, running, shutdown, remove
        exit code 2
    "#]],
    );
    check(
        "service ps nothing web --quiet",
        expect![[r#"
        t10000000000
        t20000000000
        t2old0000000
        t30000000000
        stderr: muster: no service nothing; `muster service ls` lists them
        exit code 1
    "#]],
    );
    check(
        "node ps --filter name=web.1",
        expect![[r#"
        ID             NAME      IMAGE         NODE      DESIRED STATE   CURRENT STATE           ERROR     PORTS
        t10000000000   web.1     myapp:1.0.0   host1     Running         Running 5 seconds ago
        exit code 0
    "#]],
    );
}

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

#[test]
fn nodes() {
    check(
        "node ls",
        expect![[r#"
            ID                            HOSTNAME   STATUS    AVAILABILITY   ROLE      MANAGER STATUS   ADDRESS         ENGINE            VERSION   LAST SEEN
            n100000000000000000000000 *   host1      Ready     Active         manager   Leader           10.0.0.1:7377   docker 20.10.24   0.1.0
            exit code 0
        "#]],
    );
    check(
        "node ls --format '{{.Hostname}} {{.Self}} {{.Address}}'",
        expect![[r#"
        host1 true 10.0.0.1:7377
        exit code 0
    "#]],
    );
    check(
        "node ls --filter role=worker --quiet",
        expect![[r#"
        exit code 0
    "#]],
    );
    check(
        "node inspect --pretty",
        expect![[r#"
            ID:                 n100000000000000000000000
            Hostname:           host1
            Labels:             zone=a
            Joined:             24 hours ago
            Role:               manager
            Address:            10.0.0.1:7377
            Status:
             State:             Ready
             Availability:      Active
            Manager:
             Status:            Leader
            Platform:
             OS:                linux
             Architecture:      x86_64
            Resources:
             CPUs:              4
             Memory:            8GiB
            Engine:
             Name:              docker
             Version:           20.10.24
            Muster Version:     0.1.0
            exit code 0
        "#]],
    );
    check(
        "node inspect --format '{{.Status.State}} {{.Description.Resources.NanoCPUs}}' self",
        expect![[r#"
        ready 4000000000
        exit code 0
    "#]],
    );
}

#[test]
fn services_in_full() {
    check(
        "service inspect web",
        expect![[r#"
            [
              {
                "ID": "sweb000000000000000000000",
                "Version": {
                  "Index": 10
                },
                "CreatedAt": "2026-11-21T23:00:00.000Z",
                "UpdatedAt": "2026-11-21T23:00:00.000Z",
                "Spec": {
                  "Name": "web",
                  "Labels": {
                    "team": "shop"
                  },
                  "TaskTemplate": {
                    "ContainerSpec": {
                      "Image": "myapp:1.0.0",
                      "Labels": {},
                      "StopGracePeriod": 10000000000
                    },
                    "Resources": {
                      "Limits": {},
                      "Reservations": {}
                    },
                    "RestartPolicy": {
                      "Condition": "any"
                    },
                    "Placement": {},
                    "ForceUpdate": 0,
                    "OnIsolation": "keep"
                  },
                  "Mode": {
                    "Replicated": {
                      "Replicas": 3
                    }
                  },
                  "UpdateConfig": {
                    "Parallelism": 1,
                    "Delay": 0,
                    "FailureAction": "rollback",
                    "Monitor": 5000000000,
                    "MaxFailureRatio": 0.0,
                    "Order": "auto",
                    "ProgressDeadline": 600000000000
                  },
                  "RollbackConfig": {
                    "Parallelism": 1,
                    "Delay": 0,
                    "FailureAction": "pause",
                    "Monitor": 5000000000,
                    "MaxFailureRatio": 0.0,
                    "Order": "auto",
                    "ProgressDeadline": 600000000000
                  },
                  "EndpointSpec": {
                    "Ports": [
                      {
                        "Protocol": "tcp",
                        "TargetPort": 8000,
                        "PublishedPort": 8000,
                        "PublishMode": "ingress"
                      }
                    ]
                  }
                },
                "Endpoint": {
                  "Spec": {
                    "Ports": [
                      {
                        "Protocol": "tcp",
                        "TargetPort": 8000,
                        "PublishedPort": 8000,
                        "PublishMode": "ingress"
                      }
                    ]
                  },
                  "Ports": [
                    {
                      "Protocol": "tcp",
                      "TargetPort": 8000,
                      "PublishedPort": 8000,
                      "PublishMode": "ingress"
                    }
                  ]
                }
              }
            ]
            exit code 0
        "#]],
    );
    check(
        "service inspect --pretty agent",
        expect![[r#"
            ID:                 sagent0000000000000000000
            Name:               agent
            Service Mode:       global
            Created:            about an hour ago
            Updated:            about an hour ago
            Placement:
             On isolation:      keep
            Update:
             Parallelism:       1
             Delay:             0s
             On failure:        rollback
             Monitor:           5s
             Max failure ratio: 0
             Order:             auto
             Progress deadline: 10m
            Rollback:
             Parallelism:       1
             Delay:             0s
             On failure:        pause
             Monitor:           5s
             Max failure ratio: 0
             Order:             auto
             Progress deadline: 10m
            Container:
             Image:             agent:2
             Stop grace:        10s
             Health check:      the image's own
            Resources:
             Limit memory:      64MiB
            Restart:
             Condition:         any
             Delay:             auto
            exit code 0
        "#]],
    );
    check(
        "service inspect --format '{{.Spec.Name}} {{json .Spec.Mode}}' web agent",
        expect![[r#"
        web {"Replicated":{"Replicas":3}}
        agent {"Global":{}}
        exit code 0
    "#]],
    );
    check(
        "service inspect --format '{{.Spec.Nme}}' web",
        expect![[r#"
        stderr: muster: --format: there is no field .Nme in .Spec; the fields are Name, Labels, TaskTemplate, Mode, UpdateConfig, RollbackConfig, EndpointSpec
        exit code 2
    "#]],
    );
    check(
        "service inspect nothing",
        expect![[r#"
        []
        stderr: muster: no service nothing; `muster service ls` lists them
        exit code 1
    "#]],
    );
}

#[test]
fn this_host() {
    check(
        "info",
        expect![[r#"
            Daemon:
             Version:           0.1.0
             Hostname:          host1
             Data folder:       /var/lib/muster
             Listens on:        0.0.0.0:7377
             PID:               4711
             Engine:            docker 20.10.24
            Node:
             ID:                n100000000000000000000000
             Address:           10.0.0.1:7377
             Role:              manager
             Certificate until: 2026-11-23T00:00:00.000Z
            Cluster:
             ID:                c100000000000000000000000
             Incarnation:       1
             Manager:           host1 at 10.0.0.1:7377, Leader
             Created:           2026-11-22T00:00:00.000Z
             Managers:          1
             Nodes:             1
             Services:          2
             Tasks running:     7
             Task history:      5 for each slot
             Heartbeat:         1s
             Lease:             3s
             Default memory:    1GiB
             Default pids:      4096
             Raft:              term 1, applied 42
            exit code 0
        "#]],
    );
    check(
        "info --format '{{.Cluster.TasksRunning}}'",
        expect![[r#"
        7
        exit code 0
    "#]],
    );
    check(
        "init --advertise-addr 10.0.0.1",
        expect![[r#"
            cluster c100000000000000000000000 initialized: this node (n100000000000000000000000) is its manager, at 10.0.0.1:7377

            to add a worker to this cluster, run on its host:

                muster join --token MST-1-role_worker 10.0.0.1:7377

            to add a manager, run `muster join-token manager` here and do what it says

            start a service with:

                muster service create --name web --replicas 3 -p 8000:8000 IMAGE
            exit code 0
        "#]],
    );
    check(
        "leave",
        expect![[r#"
        stderr: muster: this node is the last manager; leave with --force
        exit code 1
    "#]],
    );
    check(
        "leave --force",
        expect![[r#"
        this node has left the cluster; 3 containers removed
        exit code 0
    "#]],
    );
    let ran = run(World { warnings: vec!["2 managers are left".to_owned()], ..world() }, "leave --force");
    assert_eq!(ran.stderr, "warning: 2 managers are left\n");
    check(
        "version --format '{{.Server.Version}} {{.Server.Engine}}'",
        expect![[r#"
        0.1.0 docker
        exit code 0
    "#]],
    );
}

#[test]
fn a_host_in_no_cluster() {
    let ran = run(World::default(), "info --format '{{.Hostname}} {{.Membership.NodeID}}|'");
    expect![[r#"
        host1 |
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let ran = run(World::default(), "node inspect self");
    expect![[r#"
        []
        stderr: muster: this host is in no cluster; start one with `muster init`, or join one with `muster join`
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn output_of_containers() {
    let line = |text: &str, stderr: bool| v1::LogLine {
        task_id: id("t1"),
        task_name: "web.1".to_owned(),
        node_id: id("n1"),
        stderr,
        text: text.as_bytes().to_vec(),
        timestamp: String::new(),
        notice: false,
    };
    let world = World { logs: vec![line("hello\n", false), line("no end", true)], ..world() };
    let ran = run(world.clone(), "service logs --tail 5 --since 10s web");
    expect![[r#"
        web.1.t10000000000@host1    | hello
        stderr: web.1.t10000000000@host1    | no end
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let asked = ran.world.logs_asked.unwrap();
    assert_eq!((asked.service_id, asked.tail), (id("sweb"), Some(5)));
    assert_eq!(asked.since, Some(crate::testing::NOW.millis() - 10_000));

    let ran = run(world.clone(), "service logs --raw web.2");
    expect![[r#"
        hello
        stderr: no end
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    assert_eq!(ran.world.logs_asked.unwrap().task_id, id("t2"));

    let ran = run(world.clone(), "service logs --no-task-ids t1");
    expect![[r#"
        web.1@host1    | hello
        stderr: web.1@host1    | no end
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    expect![[r#"
        stderr: muster: no service web.9; `muster service ls` lists them
        exit code 1
    "#]]
    .assert_eq(&shown(&run(world, "service logs web.9")));
}

#[test]
fn logs_that_are_followed_outlive_a_leader() {
    let line = |text: &str, nanos: u32| v1::LogLine {
        task_id: id("t1"),
        task_name: "web.1".to_owned(),
        node_id: id("n1"),
        text: format!("{text}\n").into_bytes(),
        timestamp: format!("2026-11-22T00:00:00.{nanos:09}Z"),
        ..v1::LogLine::default()
    };
    let logs = vec![line("one", 1), line("two", 2_000_000), line("three", 2_000_000)];
    let world = World { logs, breaks_left: 1, ..world() };
    let ran = run(world.clone(), "service logs --follow --raw --tail 9 web");
    expect![[r#"
        one
        two
        three
        stderr: lost the stream, the daemon or the leader is gone; trying again
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let asked = ran.world.logs_asked.unwrap();
    assert_eq!((asked.since, asked.tail), (Some(crate::testing::NOW.millis()), None));
    let ran = run(world, "service logs --raw web");
    assert!(ran.code == 1 && ran.stderr.contains("no leader"), "{}", ran.stderr);
}

#[test]
fn managers_in_every_state() {
    let with = |name: &str, hostname: &str, role: v1::Role, manager: Option<(bool, bool)>| v1::Node {
        role: role.into(),
        leader: false,
        address: format!("10.0.0.{}:7377", &name[1..]),
        manager: manager.map(|(voter, reachable)| v1::ManagerStatus { raft_id: 3, voter, reachable, lag: 2 }),
        last_seen: Some(crate::testing::NOW.millis() - 4_000),
        certificate_expires_at: Some(crate::testing::NOW.millis() + 86_400_000),
        ..node(name, hostname)
    };
    let mut nodes = world().nodes;
    nodes.extend([
        with("n2", "host2", v1::Role::Manager, Some((true, true))),
        with("n3", "host3", v1::Role::Manager, Some((true, false))),
        with("n4", "host4", v1::Role::Manager, Some((false, false))),
        with("n5", "host5", v1::Role::Manager, None),
        with("n6", "host6", v1::Role::Worker, None),
        with("n7", "host7", v1::Role::Worker, Some((true, true))),
        v1::Node { last_seen: None, state: v1::NodeState::Down.into(), ..with("n8", "host8", v1::Role::Worker, None) },
    ]);
    let world = World { nodes, ..world() };
    expect![[r#"
        ID                            HOSTNAME   STATUS    AVAILABILITY   ROLE      MANAGER STATUS   ADDRESS         ENGINE            VERSION   LAST SEEN
        n100000000000000000000000 *   host1      Ready     Active         manager   Leader           10.0.0.1:7377   docker 20.10.24   0.1.0
        n200000000000000000000000     host2      Ready     Active         manager   Reachable        10.0.0.2:7377   docker 20.10.24   0.1.0     4 seconds ago
        n300000000000000000000000     host3      Ready     Active         manager   Unreachable      10.0.0.3:7377   docker 20.10.24   0.1.0     4 seconds ago
        n400000000000000000000000     host4      Ready     Active         manager   Learner          10.0.0.4:7377   docker 20.10.24   0.1.0     4 seconds ago
        n500000000000000000000000     host5      Ready     Active         manager   Learner          10.0.0.5:7377   docker 20.10.24   0.1.0     4 seconds ago
        n600000000000000000000000     host6      Ready     Active         worker                     10.0.0.6:7377   docker 20.10.24   0.1.0     4 seconds ago
        n700000000000000000000000     host7      Ready     Active         worker    Leaving          10.0.0.7:7377   docker 20.10.24   0.1.0     4 seconds ago
        n800000000000000000000000     host8      Down      Active         worker                     10.0.0.8:7377   docker 20.10.24   0.1.0     not by this leader
        exit code 0
    "#]].assert_eq(&shown(&run(world.clone(), "node ls")));
    expect![[r#"
        ID:                 n300000000000000000000000
        Hostname:           host3
        Labels:             zone=a
        Joined:             24 hours ago
        Role:               manager
        Address:            10.0.0.3:7377
        Status:
         State:             Ready
         Availability:      Active
         Last seen:         4 seconds ago
         Certificate until: 2026-11-23T00:00:00.000Z
        Manager:
         Status:            Unreachable
         Raft ID:           3
         Behind by:         2 entries
        Platform:
         OS:                linux
         Architecture:      x86_64
        Resources:
         CPUs:              4
         Memory:            8GiB
        Engine:
         Name:              docker
         Version:           20.10.24
        Muster Version:     0.1.0
        exit code 0
    "#]]
    .assert_eq(&shown(&run(world.clone(), "node inspect --pretty host3")));
    expect![[r#"
        {"Leader":false,"Reachability":"reachable","Addr":"10.0.0.2:7377","RaftID":3,"Voter":true,"Lag":2}
        null
        exit code 0
    "#]]
    .assert_eq(&shown(&run(world.clone(), "node inspect --format '{{json .ManagerStatus}}' host2 host6")));
    expect![[r#"
        Daemon:
         Version:           0.1.0
         Hostname:          host1
         Data folder:       /var/lib/muster
         Listens on:        0.0.0.0:7377
         PID:               4711
         Engine:            docker 20.10.24
        Node:
         ID:                n100000000000000000000000
         Address:           10.0.0.1:7377
         Role:              manager
         Certificate until: 2026-11-23T00:00:00.000Z
        Cluster:
         ID:                c100000000000000000000000
         Incarnation:       1
         Manager:           host1 at 10.0.0.1:7377, Leader
         Manager:           host2 at 10.0.0.2:7377, Reachable
         Manager:           host3 at 10.0.0.3:7377, Unreachable
         Manager:           host4 at 10.0.0.4:7377, Learner
         Manager:           host5 at 10.0.0.5:7377, Learner
         Manager:           host7 at 10.0.0.7:7377, Leaving
         Created:           2026-11-22T00:00:00.000Z
         Managers:          1
         Nodes:             1
         Services:          2
         Tasks running:     7
         Task history:      5 for each slot
         Heartbeat:         1s
         Lease:             3s
         Default memory:    1GiB
         Default pids:      4096
         Raft:              term 1, applied 42
        exit code 0
    "#]]
    .assert_eq(&shown(&run(world.clone(), "info")));
    let ran = run(World { unavailable_left: 1, ..world }, "info");
    assert_eq!(ran.code, 0, "the host is told of all the same");
    assert!(ran.stdout.contains("Trouble:           the managers have no leader"), "{}", ran.stdout);
}

#[test]
fn a_worker_says_why_no_manager_has_a_session_with_it() {
    let why = "no session with 10.0.0.1:7377: the node was removed";
    let membership = world().membership.map(|own| v1::Member { manager: false, trouble: Some(why.to_owned()), ..own });
    let world = World { membership, ..world() };
    let ran = run(world.clone(), "info");
    assert!(
        ran.stdout.contains(&format!(" Trouble:           {why}\n Managers:          10.0.0.1:7377\n")),
        "{}",
        ran.stdout
    );
    assert_eq!(shown(&run(world, "info --format '{{.ClusterTrouble}}'")), format!("{why}\nexit code 0\n"));
}

#[test]
fn a_service_named_twice_has_its_tasks_once() {
    let ran = run(world(), "service ps --quiet web sweb000000000000000000000");
    assert_eq!(ran.stdout.lines().count(), 4, "{}", ran.stdout);
}
