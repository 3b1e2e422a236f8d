//! Whole commands against a fake daemon on a real socket: what is printed, what is asked, how it ends.

use expect_test::{Expect, expect};
use muster_proto::v1::{self, TaskState};

use super::{
    fake::{Ran, World, run},
    objects::{failed, id, node, rollout, service, task, waiting},
};

fn world() -> World {
    let web = service("--name web --replicas 3 -p 8000:8000 -l team=shop myapp:1.0.0");
    let agent = service("--name agent --mode global --limit-memory 64m agent:2");
    let mut early = failed(&web, 2, "t2old", "the container ended with exit code 3");
    early.status.as_mut().unwrap().at -= 3_600_000;
    let mut pending = task(&web, 3, "t3", TaskState::Pending);
    pending.status.as_mut().unwrap().at -= 120_000;
    World {
        tasks: vec![
            early,
            task(&web, 1, "t1", TaskState::Running),
            task(&web, 2, "t2", TaskState::Starting),
            waiting(pending, "no suitable node among 1 node: 1 4 cpu asked, at most 2 free"),
        ],
        services: vec![web, agent],
        nodes: vec![node("n1", "host1")],
        membership: Some(v1::Membership {
            cluster_id: id("c1"),
            node_id: id("n1"),
            advertise_addr: "10.0.0.1:7377".to_owned(),
            manager: true,
        }),
        ..World::default()
    }
}

/// Exit code, stdout, stderr.
fn shown(ran: &Ran) -> String {
    let stderr: String = ran.stderr.lines().map(|line| format!("stderr: {line}\n")).collect();
    format!("{}{stderr}exit code {}\n", ran.stdout, ran.code)
}

fn check(line: &str, expected: Expect) -> Ran {
    let ran = run(world(), line);
    expected.assert_eq(&shown(&ran));
    ran
}

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
        t2old0000000    \_ web.2   myapp:1.0.0   host1     Shutdown        Failed about an hour ago   "the container ended with exit code 3"
        t30000000000   web.3       myapp:1.0.0             Running         Pending 2 minutes ago      "no suitable node among 1 node: 1 4 cpu asked, at most 2 free"
        exit code 0
    "#]],
    );
    check(
        "service ps --filter desired-state=shutdown --format '{{.Name}} {{.Error}}' web",
        expect![[r#"
        web.2 "the container ended with exit code 3"
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
        ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION
        n100000000000000000000000 *   host1      Ready     Active         Leader           20.10.24
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
                "ForceUpdate": 0
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
        Cluster:
         ID:                c100000000000000000000000
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
        stderr: muster: this host is in no cluster; start one with `muster init`
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn create_prints_the_id_alone_on_stdout() {
    let ran = check(
        "service create --detach --name shop --replicas 2 shop:1 --verbose",
        expect![[r#"
        sshop00000000000000000000
        stderr: warning: the image has no tag
        exit code 0
    "#]],
    );
    let created = &ran.world.created[0];
    assert_eq!(created.task.as_ref().unwrap().container.as_ref().unwrap().args, ["--verbose"]);
}

#[test]
fn a_change_made_meanwhile_is_read_and_made_again() {
    let ran = run(World { aborts_left: 2, ..world() }, "service update -d --env-add A=1 --env-rm B web");
    expect![[r#"
        web
        stderr: warning: --env-rm B: the service has none such, nothing is removed
        exit code 0
    "#]]
    .assert_eq(&shown(&ran));
    let update = &ran.world.updated[0];
    assert_eq!((update.version, update.resolve_image), (10, false));
    assert_eq!(update.spec.as_ref().unwrap().task.as_ref().unwrap().container.as_ref().unwrap().env, ["A=1"]);

    let ran = run(World { aborts_left: 1_000, ..world() }, "service update -d --image myapp:2 web");
    expect![[r#"
        stderr: muster: the service has changed since it was read; read it again
        exit code 1
    "#]]
    .assert_eq(&shown(&ran));
}

#[test]
fn an_image_named_again_is_resolved_again() {
    let ran = run(world(), "service update -d --image myapp:1.0.0 web");
    assert!(ran.world.updated[0].resolve_image);
}

#[test]
fn each_service_has_its_turn() {
    let ran = check(
        "service scale -d web=5 agent=2 nothing=1",
        expect![[r#"
        web scaled to 5
        stderr: muster: service agent is global: it has one task on each node and no number of replicas; leave it out
        stderr: muster: no service nothing; `muster service ls` lists them
        exit code 1
    "#]],
    );
    assert_eq!(ran.world.updated.len(), 1);
    let ran = check(
        "service rm nothing web",
        expect![[r#"
        web
        stderr: muster: no service nothing; `muster service ls` lists them
        exit code 1
    "#]],
    );
    assert_eq!(ran.world.removed, [id("sweb")]);
    check(
        "service scale -d web=1 web=2",
        expect![[r#"
        stderr: muster: web is named twice; give it one number of replicas
        exit code 2
    "#]],
    );
    check(
        "service rollback web",
        expect![[r#"
        stderr: muster: service web has no previous spec to roll back to; it was never updated
        exit code 1
    "#]],
    );
}

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
    let old = failed(&web, 1, "t3", "the container ended with exit code 3");
    let ran = run(watch(vec![(web, vec![old, again])]), "service create --name web myapp:1");
    expect![[r#"
        sweb000000000000000000000
        stderr: warning: the image has no tag
        stderr: web.1: task t30000000000 failed: the container ended with exit code 3
        stderr: web: 0 of 1 running, 1 starting
        stderr: muster: service web does not stay up: web.1 failed 3 times in a row
        stderr:   web.1 (task t30000000000): the container ended with exit code 3
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
        error: "the health check failed 3 times".to_owned(),
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
        stderr: muster: service web: the update failed and was rolled back: rollback_completed for a reason
        stderr:   web.1 (task t90000000000): the health check failed 3 times
        stderr:     exit code 137
        stderr:     killed for want of memory; raise --limit-memory
        stderr:     health check: HTTP 503
        stderr:     last output:
        stderr:       | listening
        stderr:       | cannot reach db
        stderr: the service runs its previous spec again; `muster service ps web` shows the tasks that failed
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
    assert_eq!(asked.since, Some(super::NOW.millis() - 10_000));

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
fn no_daemon() {
    let (mut out, stdout, stderr) = crate::out::Out::captured();
    let args = ["muster", "-H", "/nowhere/muster.sock", "service", "ls"].map(Into::into);
    let code = crate::run(args, &mut out, &super::Fixed::default());
    assert_eq!((code, stdout.text().as_str()), (1, ""));
    expect![[r#"
        muster: cannot reach the muster daemon at unix:///nowhere/muster.sock: is it running? start it with `muster daemon`, or name another socket with --host
    "#]].assert_eq(&stderr.text());
}

#[test]
fn wrong_usage() {
    check(
        "service create",
        expect![[r#"
        stderr: error: the following required arguments were not provided:
        stderr:   <IMAGE [COMMAND] [ARG...]>...
        stderr: 
        stderr: Usage: muster service create [OPTIONS] IMAGE [COMMAND] [ARG...]
        stderr: 
        stderr: For more information, try '--help'.
        exit code 2
    "#]],
    );
    check(
        "service create --replicas -1 a",
        expect![[r#"
        stderr: error: invalid value '-1' for '--replicas <N>': invalid number of replicas "-1": it is negative; write a whole number from 0 to 10000
        stderr: 
        stderr: For more information, try '--help'.
        exit code 2
    "#]],
    );
    check(
        "service create --frobnicate a",
        expect![[r#"
        stderr: error: unexpected argument '--frobnicate' found
        stderr: 
        stderr:   tip: to pass '--frobnicate' as a value, use '-- --frobnicate'
        stderr: 
        stderr: Usage: muster service create [OPTIONS] IMAGE [COMMAND] [ARG...]
        stderr: 
        stderr: For more information, try '--help'.
        exit code 2
    "#]],
    );
    check(
        "service update --rollback --force web",
        expect![[r#"
        stderr: muster: --rollback goes with no other change; roll back first, then update again
        exit code 2
    "#]],
    );
}

#[test]
fn help() {
    let shown = |line: &str| {
        let (mut out, stdout, _) = crate::out::Out::captured();
        let args = format!("muster {line} -h");
        assert_eq!(crate::run(args.split_whitespace().map(Into::into), &mut out, &super::Fixed::default()), 0);
        stdout.text()
    };
    for command in ["", "service", "service create", "service update", "service ps", "service logs", "node ls"] {
        let file = format!("help/muster {command}").trim_end().replace(' ', "-");
        expect_test::expect_file![format!("{file}.txt")].assert_eq(&shown(command));
    }
    let (mut out, stdout, _) = crate::out::Out::captured();
    let args = ["muster", "service", "ls", "--help"].map(Into::into);
    assert_eq!(crate::run(args, &mut out, &super::Fixed::default()), 0);
    assert!(stdout.text().contains("In a template {{.Field}} is a field's value"), "{}", stdout.text());
}

#[test]
fn completion_knows_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(World::default(), &format!("completion {shell}"));
        assert_eq!(ran.code, 2, "--host has no meaning for it");
    }
    let (mut out, stdout, _) = crate::out::Out::captured();
    let args = ["muster", "completion", "bash"].map(Into::into);
    assert_eq!(crate::run(args, &mut out, &super::Fixed::default()), 0);
    assert!(stdout.text().contains("--update-progress-deadline"));
}
