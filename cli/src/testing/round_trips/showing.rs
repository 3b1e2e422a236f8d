//! Commands that only look.

use expect_test::expect;
use muster_proto::v1;

use super::super::{
    fake::{World, run},
    objects::id,
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
fn a_service_named_twice_has_its_tasks_once() {
    let ran = run(world(), "service ps --quiet web sweb000000000000000000000");
    assert_eq!(ran.stdout.lines().count(), 4, "{}", ran.stdout);
}
