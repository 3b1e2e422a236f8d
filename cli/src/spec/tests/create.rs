//! `service create`.

use expect_test::expect;

use super::check_create;

#[test]
fn general() {
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
fn container() {
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
fn resources_and_placement() {
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
fn health() {
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
fn restart_and_rollouts() {
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
fn refuses() {
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
fn restarts_that_contradict_themselves() {
    check_create(
        "--name web --restart-condition none --restart-max-attempts 3 app:1",
        expect![[r#"
            exit code 2: --restart-condition none replaces no task that ended, so that --restart-max-attempts has no meaning with it; leave one of the two out, or give another condition
        "#]],
    );
    check_create(
        "--name web --restart-condition none --restart-delay 5s app:1",
        expect![[r#"
            exit code 2: --restart-condition none replaces no task that ended, so that --restart-delay has no meaning with it; leave one of the two out, or give another condition
        "#]],
    );
    check_create(
        "--name web --restart-condition none --restart-window 5s app:1",
        expect![[r#"
            exit code 2: --restart-condition none replaces no task that ended, so that --restart-window has no meaning with it; leave one of the two out, or give another condition
        "#]],
    );
    check_create(
        "--name web --restart-window 1m app:1",
        expect![[r#"
            + "Window": 60000000000
            warning: --restart-window says which attempts count towards a limit, and there is none; give --restart-max-attempts too, or take the window back with --restart-window 0s
        "#]],
    );
    check_create(
        "--name web --restart-window 1m --restart-max-attempts 3 app:1",
        expect![[r#"
        + "MaxAttempts": 3
        + "Window": 60000000000
    "#]],
    );
    check_create(
        "--name web --restart-condition none --restart-max-attempts 0 --restart-delay auto app:1",
        expect![[r#"
        - "Condition": "any"
        + "Condition": "none"
    "#]],
    );
}

#[test]
fn an_order_that_a_slot_cannot_follow() {
    let host = "--publish published=8000,target=80,mode=host";
    check_create(
        &format!("--name web --update-order start-first {host} app:1"),
        expect![[r#"
        - "Ports": []
        + "Order": "start-first"
        + "Ports": [
        + "Protocol": "tcp"
        + "TargetPort": 80
        + "PublishedPort": 8000
        + "PublishMode": "host"
        + ]
        warning: --update-order start-first with host port 8000 needs a node on which no task of the service runs, and without one each update waits until its progress deadline and fails; --update-order auto stops the old task first
    "#]],
    );
    check_create(
        &format!("--name web --mode global --rollback-order start-first {host} app:1"),
        expect![[r#"
        - "Replicated": {
        - "Replicas": 1
        - "Ports": []
        + "Global": {}
        + "Order": "start-first"
        + "Ports": [
        + "Protocol": "tcp"
        + "TargetPort": 80
        + "PublishedPort": 8000
        + "PublishMode": "host"
        + ]
        warning: --rollback-order start-first with host port 8000 can never start a second task on the node of the first, so each rollback of this global service waits until its progress deadline and fails; use --rollback-order auto, which stops the old task first
    "#]],
    );
    check_create(
        "--name web --update-order start-first --mount source=data,target=/v app:1",
        expect![[r#"
        + "Mounts": [
        + "Type": "volume"
        + "Source": "data"
        + "Target": "/v"
        + ]
        + "Order": "start-first"
        warning: --update-order start-first lets the old and the new task of a slot write to volume data at once; use --update-order auto, which stops the old one first, unless the program can share it
    "#]],
    );
    check_create(
        "--name web --update-order start-first --mount source=data,target=/v,ro -p 80:80 app:1",
        expect![[r#"
        - "Ports": []
        + "Mounts": [
        + "Type": "volume"
        + "Source": "data"
        + "Target": "/v"
        + "ReadOnly": true
        + ]
        + "Order": "start-first"
        + "Ports": [
        + "Protocol": "tcp"
        + "TargetPort": 80
        + "PublishedPort": 80
        + "PublishMode": "ingress"
        + ]
    "#]],
    );
    check_create(
        "--name web --update-order start-first -p target=80,mode=host app:1",
        expect![[r#"
        - "Ports": []
        + "Order": "start-first"
        + "Ports": [
        + "Protocol": "tcp"
        + "TargetPort": 80
        + "PublishMode": "host"
        + ]
    "#]],
    );
}
