//! Flags to specs, as tables: a command line, and what of the spec differs from the one before.

use expect_test::{Expect, expect};
use muster_proto::service::ServiceSpec;

use crate::{
    error::Error,
    format::object,
    testing::objects::{create, update},
    view,
};

fn lines(spec: &ServiceSpec) -> Vec<String> {
    object::pretty(view::spec::spec(spec)).lines().map(str::to_owned).collect()
}

/// Lines that only one of the two has, warnings, or the error.
fn difference(before: &ServiceSpec, after: Result<(ServiceSpec, Vec<String>), Error>) -> String {
    let (after, warnings) = match after {
        Ok(after) => after,
        Err(error) => return format!("exit code {}: {error}\n", error.exit_code()),
    };
    let (before, after) = (lines(before), lines(&after));
    let bare = |line: &String| line.trim().trim_end_matches(',').to_owned();
    let only = |sign: char, these: &[String], those: &[String]| -> String {
        let those: Vec<String> = those.iter().map(bare).collect();
        let only = these.iter().map(bare).filter(|line| !those.contains(line));
        only.map(|line| format!("{sign} {line}\n")).collect()
    };
    let warnings: String = warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    only('-', &before, &after) + &only('+', &after, &before) + &warnings
}

/// Compared with a service of which nothing is said.
fn check_create(line: &str, expected: Expect) {
    let (plain, _) = create("--name web app:1").expect("the plainest service");
    expected.assert_eq(&difference(&plain, create(line)));
}

const RICH: &str = "--name web --replicas 2 -p 8000:80 -e A=1 -e B=2 -l team=shop --container-label c=1 \
                    --mount type=volume,source=data,target=/v --cap-add NET_ADMIN --cap-drop CHOWN \
                    --ulimit nofile=1024 --constraint node.role==manager --placement-pref spread=node.labels.zone \
                    --user me --limit-memory 64m --health-tcp 80 app:1 serve";

fn check_update(line: &str, expected: Expect) {
    let (rich, _) = create(RICH).expect("a rich service");
    expected.assert_eq(&difference(&rich, update(rich.clone(), line)));
}

#[test]
fn create_general() {
    check_create(
        "app:1",
        expect![[r#"
        - "Name": "web"
        + "Name": "made_up_0000"
    "#]],
    );
    check_create("--name web app:1", expect![[""]]);
    check_create(
        "--name web --replicas 3 -l a=1 -l b app:2 sh -c 'echo --name x'",
        expect![[r#"
        - "Image": "app:1"
        - "Replicas": 1
        + "Labels": {
        + "a": "1"
        + "b": ""
        + "Image": "app:2"
        + "Args": [
        + "sh"
        + "-c"
        + "echo --name x"
        + ]
        + "Replicas": 3
    "#]],
    );
    check_create(
        "--name web --mode global app:1",
        expect![[r#"
        - "Replicated": {
        - "Replicas": 1
        + "Global": {}
    "#]],
    );
    check_create(
        "--name web -p 8000:80 -p published=9000,target=90,mode=host app:1",
        expect![[r#"
        - "Ports": []
        + "Ports": [
        + "Protocol": "tcp"
        + "TargetPort": 80
        + "PublishedPort": 8000
        + "PublishMode": "ingress"
        + "Protocol": "tcp"
        + "TargetPort": 90
        + "PublishedPort": 9000
        + "PublishMode": "host"
        + ]
    "#]],
    );
}

#[test]
fn create_container() {
    check_create(
        "--name web -e A=1 -e A=2 -e HOME -e GONE --env-file a.env app:1",
        expect![[r#"
        + "Env": [
        + "A=2"
        + "HOME=/home/me"
        + ]
        warning: GONE is not set in your environment and is left out; write GONE=value to set it
    "#]],
    );
    check_create(
        "--name web --entrypoint 'sh -c' --user 1:1 --workdir /srv --hostname h app:1",
        expect![[r#"
        + "Command": [
        + "sh"
        + "-c"
        + ]
        + "Hostname": "h"
        + "Dir": "/srv"
        + "User": "1:1"
    "#]],
    );
    check_create(
        "--name web --read-only --init --stop-signal SIGINT --stop-grace-period 1m30s app:1",
        expect![[r#"
        - "StopGracePeriod": 10000000000
        + "ReadOnly": true
        + "Init": true
        + "StopSignal": "SIGINT"
        + "StopGracePeriod": 90000000000
    "#]],
    );
    check_create(
        "--name web --read-only=false --container-label a=b app:1",
        expect![[r#"
        + "Labels": {
        + "a": "b"
    "#]],
    );
    check_create(
        "--name web --cap-add net_admin --cap-drop ALL --ulimit nofile=1024:2048 app:1",
        expect![[r#"
        + "CapabilityAdd": [
        + "CAP_NET_ADMIN"
        + ]
        + "CapabilityDrop": [
        + "ALL"
        + ]
        + "Ulimits": [
        + "Name": "nofile"
        + "Soft": 1024
        + "Hard": 2048
        + ]
    "#]],
    );
    check_create(
        "--name web --mount type=bind,source=/etc,target=/e,readonly --mount type=tmpfs,target=/t app:1",
        expect![[r#"
            + "Mounts": [
            + "Type": "bind"
            + "Source": "/etc"
            + "Target": "/e"
            + "ReadOnly": true
            + "Type": "tmpfs"
            + "Target": "/t"
            + "TmpfsOptions": {}
            + ]
        "#]],
    );
}

#[test]
fn create_resources_and_placement() {
    check_create(
        "--name web --limit-cpu 1.5 --limit-memory 2g --limit-pids 100 --reserve-cpu 1 --reserve-memory 1g app:1",
        expect![[r#"
            - "Limits": {}
            - "Reservations": {}
            + "Limits": {
            + "NanoCPUs": 1500000000
            + "MemoryBytes": 2147483648
            + "Pids": 100
            + "Reservations": {
            + "NanoCPUs": 1000000000
            + "MemoryBytes": 1073741824
        "#]],
    );
    check_create(
        "--name web --constraint node.labels.zone==a --placement-pref spread=node.labels.rack --replicas-max-per-node 2 app:1",
        expect![[r#"
            - "Placement": {}
            + "Placement": {
            + "Constraints": [
            + "node.labels.zone==a"
            + ]
            + "Preferences": [
            + "Spread": {
            + "SpreadDescriptor": "node.labels.rack"
            + ]
            + "MaxReplicas": 2
        "#]],
    );
}

#[test]
fn create_health() {
    check_create(
        "--name web --health-cmd 'curl -f localhost' --health-interval 1s --health-retries 5 app:1",
        expect![[r#"
            + "Healthcheck": {
            + "Test": [
            + "CMD-SHELL"
            + "curl -f localhost"
            + ]
            + "Interval": 1000000000
            + "Timeout": 5000000000
            + "Retries": 5
            + "StartPeriod": 0
        "#]],
    );
    check_create(
        "--name web --health-http :80/up --health-timeout 2s --health-start-period 1m app:1",
        expect![[r#"
        + "Healthcheck": {
        + "Test": [
        + "HTTP"
        + "80/up"
        + ]
        + "Interval": 5000000000
        + "Timeout": 2000000000
        + "Retries": 3
        + "StartPeriod": 60000000000
    "#]],
    );
    check_create(
        "--name web --health-tcp 80 app:1",
        expect![[r#"
        + "Healthcheck": {
        + "Test": [
        + "TCP"
        + "80"
        + ]
        + "Interval": 5000000000
        + "Timeout": 5000000000
        + "Retries": 3
        + "StartPeriod": 0
    "#]],
    );
    check_create(
        "--name web --no-healthcheck app:1",
        expect![[r#"
        + "Healthcheck": {
        + "Test": [
        + "NONE"
        + ]
    "#]],
    );
    check_create(
        "--name web --health-interval 1s app:1",
        expect![[r#"
        exit code 2: --health-interval, --health-timeout, --health-retries and --health-start-period need a check of the service's own; give --health-cmd, --health-http or --health-tcp too
    "#]],
    );
    check_create(
        "--name web --health-tcp 80 --no-healthcheck app:1",
        expect![[r#"
        exit code 2: error: the argument '--health-tcp <PORT>' cannot be used with '--no-healthcheck[=<BOOL>]'
    "#]],
    );
    check_create(
        "--name web --health-tcp 80 --health-cmd true app:1",
        expect![[r#"
        exit code 2: error: the argument '--health-tcp <PORT>' cannot be used with '--health-cmd <COMMAND>'
    "#]],
    );
}

#[test]
fn create_restart_and_rollouts() {
    check_create(
        "--name web --restart-condition on-failure --restart-delay 3s --restart-max-attempts 4 --restart-window 1m app:1",
        expect![[r#"
            - "Condition": "any"
            + "Condition": "on-failure"
            + "Delay": 3000000000
            + "MaxAttempts": 4
            + "Window": 60000000000
        "#]],
    );
    check_create(
        "--name web --update-parallelism 0 --update-delay 1s --update-order stop-first --update-failure-action pause \
         --update-monitor 9s --update-max-failure-ratio 0.1 --update-progress-deadline 0s app:1",
        expect![[r#"
            - "FailureAction": "rollback"
            + "Parallelism": 0
            + "Delay": 1000000000
            + "Monitor": 9000000000
            + "MaxFailureRatio": 0.1
            + "Order": "stop-first"
            + "ProgressDeadline": 0
        "#]],
    );
    check_create(
        "--name web --rollback-parallelism 3 --rollback-failure-action continue app:1",
        expect![[r#"
        - "FailureAction": "pause"
        + "Parallelism": 3
        + "FailureAction": "continue"
    "#]],
    );
    check_create(
        "--name web --rollback-failure-action rollback app:1",
        expect![[r#"
        exit code 2: error: invalid value 'rollback' for '--rollback-failure-action <ACTION>'
    "#]],
    );
    check_create(
        "--name web --update-order first app:1",
        expect![[r#"
        exit code 2: error: invalid value 'first' for '--update-order <ORDER>'
    "#]],
    );
}

#[test]
fn create_refuses() {
    check_create(
        "--name web --mode global --replicas 2 app:1",
        expect![[r#"
        exit code 2: --replicas has no meaning with --mode global; leave one of the two out
    "#]],
    );
    check_create(
        "--name=-web app:1",
        expect![[r#"
            exit code 2: a service cannot be called "-web"; use up to 63 letters, digits, - and _, with a letter or digit at each end
        "#]],
    );
    check_create(
        "--name web UPPER:1",
        expect![[r#"
        exit code 2: invalid image "UPPER:1": its name has capital letters; write it like app:1.0 or registry.example:5000/team/app:1.0
    "#]],
    );
    check_create(
        "--name web --replicas 1000000 app:1",
        expect![[r#"
        exit code 2: error: invalid value '1000000' for '--replicas <N>': invalid number of replicas "1000000": it is too large; write a whole number from 0 to 10000
    "#]],
    );
    check_create(
        "--name web --limit-memory 10q app:1",
        expect![[r#"
        exit code 2: error: invalid value '10q' for '--limit-memory <BYTES>': invalid amount of memory "10q": its unit is not one of b, k, m, g and t; write it in bytes or like 512m, 1.5g or 64MiB
    "#]],
    );
    check_create(
        "--name web --stop-grace-period 10 app:1",
        expect![[r#"
        exit code 2: error: invalid value '10' for '--stop-grace-period <DURATION>': invalid duration "10": it has no unit; write it like 10s, 1m30s or 500ms
    "#]],
    );
    check_create(
        "--name web --cap-add FLY app:1",
        expect![[r#"
        exit code 2: there is no capability "CAP_FLY"; use a name like NET_ADMIN or CAP_SYS_TIME, or ALL
    "#]],
    );
    check_create(
        "--name web --constraint zone=a app:1",
        expect![[r#"
        exit code 2: error: invalid value 'zone=a' for '--constraint <CONSTRAINT>': invalid constraint "zone=a": it has neither == nor !=; write it like node.labels.zone==a or node.hostname!=db1
    "#]],
    );
    check_create(
        "--name web --env-file gone.env app:1",
        expect![[r#"
        exit code 1: cannot read the env file gone.env: entity not found; name a file that exists
    "#]],
    );
}

#[test]
fn update_adds_replaces_and_removes() {
    check_update(
        "--env-add A=9 --env-add C=3 --env-rm B",
        expect![[r#"
        - "A=1"
        - "B=2"
        + "A=9"
        + "C=3"
    "#]],
    );
    check_update(
        "--label-add x=y --label-rm team",
        expect![[r#"
        - "team": "shop"
        + "x": "y"
    "#]],
    );
    check_update(
        "--container-label-add d=2 --container-label-rm c",
        expect![[r#"
        - "c": "1"
        + "d": "2"
    "#]],
    );
    check_update(
        "--publish-rm 80 --publish-add 9000:80",
        expect![[r#"
        - "PublishedPort": 8000
        + "PublishedPort": 9000
    "#]],
    );
    check_update(
        "--publish-add 9000:90",
        expect![[r#"
        + "TargetPort": 90
        + "PublishedPort": 9000
    "#]],
    );
    check_update(
        "--mount-add type=volume,source=other,target=/v",
        expect![[r#"
        - "Source": "data"
        + "Source": "other"
    "#]],
    );
    check_update(
        "--mount-rm /v",
        expect![[r#"
        - "Mounts": [
        - "Type": "volume"
        - "Source": "data"
        - "Target": "/v"
    "#]],
    );
    check_update(
        "--ulimit-add nofile=4096 --ulimit-add nproc=10",
        expect![[r#"
        - "Soft": 1024
        - "Hard": 1024
        + "Soft": 4096
        + "Hard": 4096
        + "Name": "nproc"
        + "Soft": 10
        + "Hard": 10
    "#]],
    );
    check_update(
        "--ulimit-rm nofile",
        expect![[r#"
        - "Ulimits": [
        - "Name": "nofile"
        - "Soft": 1024
        - "Hard": 1024
    "#]],
    );
    check_update(
        "--constraint-rm node.role==manager --constraint-add node.role==worker",
        expect![[r#"
        - "node.role==manager"
        + "node.role==worker"
    "#]],
    );
    check_update(
        "--placement-pref-rm spread=node.labels.zone --placement-pref-add spread=node.id",
        expect![[r#"
        - "SpreadDescriptor": "node.labels.zone"
        + "SpreadDescriptor": "node.id"
    "#]],
    );
}

#[test]
fn update_sets_values() {
    check_update(
        "--image app:2 --replicas 5 --force",
        expect![[r#"
        - "Image": "app:1"
        - "ForceUpdate": 0
        - "Replicas": 2
        + "Image": "app:2"
        + "ForceUpdate": 1
        + "Replicas": 5
    "#]],
    );
    check_update(
        "--args '--port 80 \"a b\"' --entrypoint /app",
        expect![[r#"
        - "serve"
        + "Command": [
        + "/app"
        + "--port"
        + "a b"
    "#]],
    );
    check_update(
        "--args '' --user '' --limit-memory 0",
        expect![[r#"
        - "Args": [
        - "serve"
        - "User": "me"
        - "Limits": {
        - "MemoryBytes": 67108864
        + "Limits": {}
    "#]],
    );
    check_update(
        "--health-retries 9",
        expect![[r#"
        - "Retries": 3
        + "Retries": 9
    "#]],
    );
    check_update(
        "--health-cmd ''",
        expect![[r#"
        - "Healthcheck": {
        - "Test": [
        - "TCP"
        - "80"
        - "Interval": 5000000000
        - "Timeout": 5000000000
        - "Retries": 3
        - "StartPeriod": 0
    "#]],
    );
    check_update(
        "--no-healthcheck",
        expect![[r#"
        - "TCP"
        - "80"
        - "Interval": 5000000000
        - "Timeout": 5000000000
        - "Retries": 3
        - "StartPeriod": 0
        + "NONE"
    "#]],
    );
    check_update(
        "--restart-delay 1s --update-order start-first --rollback-monitor 1s",
        expect![[r#"
        + "Delay": 1000000000
        + "Order": "start-first"
        + "Monitor": 1000000000
    "#]],
    );
}

#[test]
fn update_toggles_capabilities_as_docker_does() {
    check_update(
        "--cap-add CHOWN",
        expect![[r#"
        - "CapabilityDrop": [
        - "CAP_CHOWN"
    "#]],
    );
    check_update(
        "--cap-drop NET_ADMIN",
        expect![[r#"
        - "CapabilityAdd": [
        - "CAP_NET_ADMIN"
    "#]],
    );
    check_update(
        "--cap-drop MKNOD",
        expect![[r#"
        + "CAP_MKNOD"
    "#]],
    );
    check_update(
        "--cap-add RESET --cap-add SYS_TIME --cap-drop RESET",
        expect![[r#"
        - "CAP_NET_ADMIN"
        - "CapabilityDrop": [
        - "CAP_CHOWN"
        + "CAP_SYS_TIME"
    "#]],
    );
    check_update(
        "--cap-add MKNOD --cap-drop mknod",
        expect![[r#"
        exit code 2: --cap-add and --cap-drop both name CAP_MKNOD; keep the one you mean
    "#]],
    );
}

#[test]
fn update_refuses_contradictions_and_warns_of_nothing_to_remove() {
    check_update(
        "--env-add A=1 --env-rm A",
        expect![[r#"
        exit code 2: --env-add and --env-rm both name A; keep the one you mean (adding replaces what is there)
    "#]],
    );
    check_update(
        "--label-add team=x --label-rm team",
        expect![[r#"
        exit code 2: --label-add and --label-rm both name team; keep the one you mean (adding replaces what is there)
    "#]],
    );
    check_update(
        "--ulimit-add nofile=1 --ulimit-rm nofile",
        expect![[r#"
        exit code 2: --ulimit-add and --ulimit-rm both name nofile; keep the one you mean (adding replaces what is there)
    "#]],
    );
    check_update(
        "--constraint-add node.role==worker --constraint-rm node.role==worker",
        expect![[r#"
        exit code 2: --constraint-add and --constraint-rm both name node.role==worker; keep the one you mean (adding replaces what is there)
    "#]],
    );
    check_update(
        "--env-rm Z --label-rm z --publish-rm 99 --mount-rm /z",
        expect![[r#"
        warning: --label-rm z: the service has none such, nothing is removed
        warning: --env-rm Z: the service has none such, nothing is removed
        warning: --mount-rm /z: the service has none such, nothing is removed
        warning: --publish-rm 99: the service has none such, nothing is removed
    "#]],
    );
    check_update(
        "--publish-add 8000:90",
        expect![[r#"
        exit code 2: port 8000/tcp is published twice; leave one of them out
    "#]],
    );
    let (global, _) = create("--name web --mode global app:1").expect("a global service");
    expect![[r#"
        exit code 2: service web is global: it has one task on each node and no number of replicas; leave it out
    "#]]
    .assert_eq(&difference(&global, update(global.clone(), "--replicas 2")));
}
