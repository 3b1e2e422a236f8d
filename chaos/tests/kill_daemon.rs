//! The whole run, on a stand-in for `muster` that keeps its word, and on one that does not.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// One file for each service, one line for each update. `FAULT=forget` empties them when the daemon starts again,
/// `FAULT=panic` panics somewhere and goes on.
const STAND_IN: &str = r#"#!/bin/sh
set -eu
if [ "$1" = daemon ]; then
    while [ $# -gt 0 ]; do
        case $1 in --socket) socket=$2 ;; --data-dir) data=$2 ;; esac
        shift
    done
    if [ -d "$data" ] && [ "${FAULT:-}" = forget ]; then
        for service in "$data"/w*; do [ ! -e "$service" ] || : >"$service"; done
    fi
    if [ "${FAULT:-}" = panic ]; then
        echo "thread 'leader' panicked at manager/src/leader.rs:1:1:" >&2
    fi
    mkdir -p "$data"
    echo $$ >"$socket.pid"
    exec sleep 600
fi
socket=${2#unix://}
data=${socket%/*}/data
if ! kill -0 "$(cat "$socket.pid" 2>/dev/null)" 2>/dev/null; then
    echo "cannot reach the muster daemon" >&2
    exit 1
fi
shift 2
for name in "$@"; do :; done
case "$1 ${2:-}" in
    'init ') ;;
    'service create')
        name=$(echo "$*" | sed 's/.*--name \([^ ]*\).*/\1/')
        (set -C; : >"$data/$name") 2>/dev/null || { echo "a service named $name exists already" >&2; exit 1; } ;;
    'service update')
        [ -e "$data/$name" ] || { echo "no service $name" >&2; exit 1; }
        echo "$5" >>"$data/$name" ;;
    'service rm')
        rm "$data/$name" 2>/dev/null || { echo "no service $name" >&2; exit 1; } ;;
    'service ls')
        for service in "$data"/w*; do
            [ ! -e "$service" ] || echo "{\"Name\":\"${service##*/}\",\"Replicas\":\"1/1\"}"
        done ;;
    'service inspect')
        shift 4
        for name in "$@"; do
            env=$(sed 's/.*/"&"/' "$data/$name" | paste -sd, -)
            echo "[{\"Spec\":{\"Name\":\"$name\",\"TaskTemplate\":{\"ContainerSpec\":{\"Env\":[$env]}}}}]"
        done ;;
    *)
        echo "unknown command $*" >&2
        exit 2 ;;
esac
"#;

fn chaos(folder: &Path, fault: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-chaos"));
    command.args(args).env("TMPDIR", folder).env("FAULT", fault).output().expect("muster-chaos runs")
}

fn kill_daemon(folder: &Path, fault: &str) -> (Output, String) {
    let stand_in = folder.join("muster");
    fs::write(&stand_in, STAND_IN).expect("written");
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).expect("made executable");
    let stand_in = stand_in.to_str().expect("temporary paths are text");
    let args = ["kill-daemon", "--rounds", "3", "--seed", "3", "--keep", "--muster", stand_in];
    let output = chaos(folder, fault, &args);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, said)
}

fn kept(said: &str) -> PathBuf {
    let line = said.lines().find_map(|line| line.strip_prefix("kept ")).expect("the report names the folder");
    PathBuf::from(line.trim())
}

/// Every daemon is awaited by the run that started it, so its process is no more.
fn assert_daemon_is_gone(kept: &Path) {
    let pid = fs::read_to_string(kept.join("muster.sock.pid")).expect("the stand-in wrote it");
    let alive = fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    assert!(!alive.starts_with(b"sleep\x00600"), "the daemon outlived its run");
}

#[test]
fn a_daemon_that_keeps_its_word_passes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (output, said) = kill_daemon(folder.path(), "");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("verdict   0 violations") && said.ends_with("passed\n"), "{said}");
    assert!(!said.contains("writes    0 acknowledged"), "{said}");
    assert_daemon_is_gone(&kept(&said));
}

#[test]
fn a_daemon_that_panics_is_found_out_though_it_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (output, said) = kill_daemon(folder.path(), "panic");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("violation the daemon panicked: thread 'leader' panicked at manager/src/leader.rs"),
        "{said}"
    );
    assert!(said.contains("verdict   0 violations"), "nothing was lost: {said}");
}

#[test]
fn a_daemon_that_forgets_is_found_out_and_its_history_convicts_it_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (output, said) = kill_daemon(folder.path(), "forget");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("but it must be present with K"), "{said}");
    assert!(said.contains("FAILED; once more: muster-chaos kill-daemon --rounds 3 --clients 3 --seed 3"), "{said}");
    assert_daemon_is_gone(&kept(&said));

    let history = kept(&said).join("history.jsonl");
    let again = chaos(folder.path(), "", &["check", history.to_str().expect("temporary paths are text")]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stdout).contains("but it must be present with K"));
}
