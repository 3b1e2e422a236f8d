//! No daemon, wrong usage, help.

use expect_test::expect;

use super::super::fake::{World, run};
use super::check;

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
