//! `service update`.

use expect_test::{Expect, expect};

use super::{check_update, difference};
use crate::testing::objects::{create, update};

#[test]
fn adds_replaces_and_removes() {
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
fn sets_values() {
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
            warning: --update-order start-first lets the old and the new task of a slot write to volume data at once; use --update-order auto, which stops the old one first, unless the program can share it
        "#]],
    );
}

#[test]
fn toggles_capabilities_as_docker_does() {
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
fn refuses_contradictions_and_warns_of_nothing_to_remove() {
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
        warning: --label-rm z: there is none such, nothing is removed
        warning: --env-rm Z: there is none such, nothing is removed
        warning: --mount-rm /z: there is none such, nothing is removed
        warning: --publish-rm 99: there is none such, nothing is removed
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

#[test]
fn restarts_and_orders_that_contradict_the_rest() {
    check_update(
        "--restart-window 1m",
        expect![[r#"
            + "Window": 60000000000
            warning: --restart-window says which attempts count towards a limit, and there is none; give --restart-max-attempts too, or take the window back with --restart-window 0s
        "#]],
    );
    check_update(
        "--restart-window 1m --restart-max-attempts 2",
        expect![[r#"
        + "MaxAttempts": 2
        + "Window": 60000000000
    "#]],
    );
    check_update(
        "--update-order start-first",
        expect![[r#"
        + "Order": "start-first"
        warning: --update-order start-first lets the old and the new task of a slot write to volume data at once; use --update-order auto, which stops the old one first, unless the program can share it
    "#]],
    );
    check_update("--update-order auto", expect![[""]]);
    let (off, _) = create("--name web --restart-condition none app:1").expect("one that is not restarted");
    let of_off = |line: &str, expected: Expect| expected.assert_eq(&difference(&off, update(off.clone(), line)));
    of_off(
        "--restart-delay 5s",
        expect![[r#"
        exit code 2: --restart-condition none replaces no task that ended, so that --restart-delay has no meaning with it; leave one of the two out, or give another condition
    "#]],
    );
    of_off(
        "--restart-delay 5s --restart-condition any",
        expect![[r#"
        - "Condition": "none"
        + "Condition": "any"
        + "Delay": 5000000000
    "#]],
    );
    of_off(
        "--label-add a=b",
        expect![[r#"
        + "Labels": {
        + "a": "b"
    "#]],
    );
    let limited = "--name web --restart-max-attempts 2 --restart-window 1m app:1";
    let (limited, _) = create(limited).expect("one with a limit");
    let of_limited =
        |line: &str, expected: Expect| expected.assert_eq(&difference(&limited, update(limited.clone(), line)));
    of_limited(
        "--restart-condition none",
        expect![[r#"
        - "Condition": "any"
        + "Condition": "none"
    "#]],
    );
    of_limited(
        "--restart-max-attempts 0",
        expect![[r#"
        - "MaxAttempts": 2
        warning: --restart-window says which attempts count towards a limit, and there is none; give --restart-max-attempts too, or take the window back with --restart-window 0s
    "#]],
    );
    let (shared, _) = create(
        "--name web --update-order start-first --rollback-order start-first --update-progress-deadline 0s \
         -p published=8000,target=80,mode=host app:1",
    )
    .expect("an order that is warned of");
    let of_shared =
        |line: &str, expected: Expect| expected.assert_eq(&difference(&shared, update(shared.clone(), line)));
    of_shared(
        "--rollback-order start-first",
        expect![[r#"
        warning: --rollback-order start-first with host port 8000 needs a node on which no task of the service runs, and without one each rollback waits until its progress deadline and fails; --rollback-order auto stops the old task first
    "#]],
    );
    of_shared(
        "--update-order start-first",
        expect![[r#"
        warning: --update-order start-first with host port 8000 needs a node on which no task of the service runs, and without one each update waits for ever, as it has no progress deadline; --update-order auto stops the old task first
    "#]],
    );
}
