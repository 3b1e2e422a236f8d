//! No daemon, wrong usage, help.

use expect_test::{Expect, expect};
use muster_proto::{isolation::ISOLATION_MARGIN, restart::RestartPolicy};

use super::super::fake::{World, run};
use super::{check, shown, world};

#[test]
fn no_daemon() {
    let (mut out, stdout, stderr) = crate::out::Out::captured();
    let args = ["muster", "-H", "/nowhere/muster.sock", "service", "ls"].map(Into::into);
    let code = crate::run(args, &mut out, &crate::testing::Fixed::default());
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
fn numbers_that_cannot_be() {
    let says = |line: &str, expected: Expect| {
        let ran = run(world(), line);
        assert_eq!((ran.code, ran.world.updated.len(), ran.world.created.len()), (2, 0, 0), "{line}");
        expected.assert_eq(ran.stderr.lines().next().unwrap_or_default());
    };
    says(
        "service update --update-parallelism -1 web",
        expect![[
            r#"error: invalid value '-1' for '--update-parallelism <N>': invalid number "-1": it is negative; write a whole number from 0 to 10000"#
        ]],
    );
    says(
        "service update --canary=-1 web",
        expect![[
            r#"error: invalid value '-1' for '--canary <N>': invalid number "-1": it is negative; write a whole number from 0 to 10000"#
        ]],
    );
    says(
        "service create --restart-max-attempts -1 a",
        expect![[
            r#"error: invalid value '-1' for '--restart-max-attempts <N>': invalid number "-1": it is negative; write a whole number from 0 to 4294967295"#
        ]],
    );
    says(
        "service create --update-max-failure-ratio -0.5 a",
        expect![[
            r#"error: invalid value '-0.5' for '--update-max-failure-ratio <RATIO>': invalid ratio "-0.5": it is negative; write a number from 0 to 1, like 0.2"#
        ]],
    );
    says(
        "service create --update-delay -5s a",
        expect![[
            r#"error: invalid value '-5s' for '--update-delay <DURATION>': invalid duration "-5s": it is negative; write it like 10s, 1m30s or 500ms"#
        ]],
    );
    says(
        "service create --restart-delay -5s a",
        expect![[
            r#"error: invalid value '-5s' for '--restart-delay <DURATION>': invalid duration "-5s": it is negative; write it like 10s, 1m30s or 500ms, or auto"#
        ]],
    );
    says(
        "service create --health-retries 0 a",
        expect![[
            r#"error: invalid value '0' for '--health-retries <N>': invalid number "0": it is too small; write a whole number from 1 to 4294967295"#
        ]],
    );
    says(
        "service create --limit-memory -1 a",
        expect![[
            r#"error: invalid value '-1' for '--limit-memory <BYTES>': invalid amount of memory "-1": it is negative; write it in bytes or like 512m, 1.5g or 64MiB"#
        ]],
    );
    says(
        "service create --limit-pids 5000000 a",
        expect![[
            r#"error: invalid value '5000000' for '--limit-pids <N>': invalid number "5000000": it is too large; write a whole number from 0 to 4194304"#
        ]],
    );
    says(
        "service update --stop-grace-period --force web",
        expect![[
            r#"error: invalid value '--force' for '--stop-grace-period <DURATION>': invalid duration "--force": it is not a number followed by a unit; write it like 10s, 1m30s or 500ms"#
        ]],
    );
    says(
        "service logs --tail -1 web",
        expect![[
            r#"error: invalid value '-1' for '--tail <N>': invalid number "-1": it is negative; write a whole number from 0 to 4294967295, or all"#
        ]],
    );
    says(
        "service logs --since -5m web",
        expect![[
            r#"error: invalid value '-5m' for '--since <TIME>': invalid duration "-5m": it is negative; write it like 10s, 1m30s or 500ms"#
        ]],
    );
    says(
        "rebalance --max-moves 1.5",
        expect![[
            r#"error: invalid value '1.5' for '--max-moves <N>': invalid number "1.5": it is not a whole number; write a whole number from 1 to 500"#
        ]],
    );
    says(
        "cluster update --task-history-limit -1",
        expect![[
            r#"error: invalid value '-1' for '--task-history-limit <N>': invalid number "-1": it is negative; write a whole number from 0 to 100"#
        ]],
    );
    says(
        "join-token worker --uses -1",
        expect![[
            r#"error: invalid value '-1' for '--uses <N>': invalid number "-1": it is negative; write a whole number from 1 to 10000"#
        ]],
    );
    says(
        "join-token worker --ttl -1h",
        expect![[
            r#"error: invalid value '-1h' for '--ttl <DURATION>': invalid duration "-1h": it is negative; write it like 10s, 1m30s or 500ms"#
        ]],
    );
    says(
        "service scale web=-1",
        expect![[
            r#"error: invalid value 'web=-1' for '<SERVICE=REPLICAS>...': invalid scale "web=-1": in the number of replicas, it is negative; write it like web=5"#
        ]],
    );
}

#[test]
fn a_truth_value_may_follow_a_switch() {
    let ran = run(world(), "service update --detach=true --quiet=false --rollback=false --force=1 web");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let spec = ran.world.updated[0].spec.as_ref().unwrap();
    assert_eq!(spec.task.as_ref().unwrap().force_update, 1);
    let ran = run(world(), "service update -d --force=false --read-only=T web");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let task = ran.world.updated[0].spec.as_ref().unwrap().task.as_ref().unwrap();
    assert_eq!((task.force_update, task.container.as_ref().unwrap().read_only), (0, true));
    let ran = run(world(), "service update --detach=soon web");
    expect![[r#"
        stderr: error: invalid value 'soon' for '--detach[=<BOOL>]': invalid truth value "soon": it is neither true nor false; write true or false
        stderr: 
        stderr: For more information, try '--help'.
        exit code 2
    "#]].assert_eq(&shown(&ran));
}

#[test]
fn switches_that_exclude_each_other_do_so_where_they_are_on() {
    let pairs = [
        ("rebalance --detach --dry-run", "rebalance --detach=false --dry-run"),
        ("rebalance --dry-run --timeout 5s", "rebalance --dry-run=false --timeout 5s"),
        ("rebalance --detach --timeout 5s", "rebalance --detach=false --timeout 5s"),
        ("node update --wait --label-add a=b self", "node update --wait=false --label-add a=b self"),
        (
            "node update --availability drain --wait=false --timeout 5s self",
            "node update --availability drain --wait=false self",
        ),
        ("cluster inspect --pretty --format json", "cluster inspect --pretty=false --format json"),
        ("service logs --raw --no-trunc web", "service logs --raw=false --no-trunc web"),
        ("service logs --raw --no-task-ids web", "service logs --raw --no-task-ids=false web"),
        ("join-token worker --rotate --ttl 1h", "join-token worker --rotate=false --ttl 1h"),
        ("join-token worker --rotate --uses 2", "join-token worker --rotate=0 --uses 2"),
    ];
    for (refused, taken) in pairs {
        let ran = run(world(), refused);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{refused}: {}", ran.stderr);
        let ran = run(world(), taken);
        assert_eq!(ran.code, 0, "{taken}: {}", ran.stderr);
    }
    let (mut out, _, stderr) = crate::out::Out::captured();
    let args = ["muster", "demo", "--keep", "--image", "a:1"].map(Into::into);
    assert_eq!(crate::run(args, &mut out, &crate::testing::Fixed::default()), 2);
    assert_eq!(stderr.text(), "muster: --keep cannot be used together with --image; leave one of the two out\n");
}

/// Figures in the help are those that hold.
#[test]
fn help_tells_what_holds() {
    let (mut out, stdout, _) = crate::out::Out::captured();
    let args = ["muster", "service", "create", "--help"].map(Into::into);
    assert_eq!(crate::run(args, &mut out, &crate::testing::Fixed::default()), 0);
    let help = stdout.text().split_whitespace().collect::<Vec<_>>().join(" ");
    let seconds = |duration: std::time::Duration| format!("{}s", duration.as_secs_f32());
    for figure in [
        format!("later by the stop grace period and {} ", seconds(ISOLATION_MARGIN)),
        format!("auto is {} doubled", seconds(RestartPolicy::BACKOFF_FIRST)),
        format!("up to {};", seconds(RestartPolicy::BACKOFF_MAX)),
        format!("starts are {} apart at least", seconds(RestartPolicy::LOOP_MIN)),
    ] {
        assert!(help.contains(&figure), "{figure}: {help}");
    }
}

#[test]
fn help() {
    let shown = |line: &str| {
        let (mut out, stdout, _) = crate::out::Out::captured();
        let args = format!("muster {line} -h");
        assert_eq!(crate::run(args.split_whitespace().map(Into::into), &mut out, &crate::testing::Fixed::default()), 0);
        stdout.text()
    };
    for command in [
        "",
        "service",
        "service create",
        "service update",
        "service ps",
        "service logs",
        "node",
        "node ls",
        "node update",
        "node promote",
        "node rm",
        "cluster",
        "cluster inspect",
        "cluster update",
        "rebalance",
        "join",
        "join-token",
        "ca",
        "ca rotate",
        "backup",
        "restore",
        "recover",
    ] {
        let file = format!("../help/muster {command}").trim_end().replace(' ', "-");
        expect_test::expect_file![format!("{file}.txt")].assert_eq(&shown(command));
    }
    let (mut out, stdout, _) = crate::out::Out::captured();
    let args = ["muster", "service", "ls", "--help"].map(Into::into);
    assert_eq!(crate::run(args, &mut out, &crate::testing::Fixed::default()), 0);
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
    assert_eq!(crate::run(args, &mut out, &crate::testing::Fixed::default()), 0);
    assert!(stdout.text().contains("--update-progress-deadline"));
}
