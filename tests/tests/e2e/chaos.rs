//! Short runs of the chaos program against real daemons; longer ones are for the hand.

use muster_chaos::{
    Options, hosts, kill_daemon,
    managers::{self, Kind},
};

use crate::MUSTER;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

fn options(rounds: u32) -> Options {
    Options { rounds, clients: 3, seed: None, muster: Some(MUSTER.into()), keep: false }
}

#[test]
fn a_daemon_that_is_killed_while_clients_write_keeps_its_word() {
    let kept_its_word = runtime().block_on(kill_daemon::run(&options(5))).expect("the run comes to its end");
    assert!(kept_its_word, "see the report above");
}

fn managers_keep_their_word(kind: Kind, rounds: u32) {
    let kept_their_word = runtime().block_on(managers::run(kind, &options(rounds))).expect("the run comes to its end");
    assert!(kept_their_word, "see the report above");
}

#[test]
fn managers_that_are_killed_while_clients_write_keep_their_word() {
    managers_keep_their_word(Kind::Kill, 4);
}

#[test]
fn managers_that_are_paused_while_clients_write_keep_their_word() {
    managers_keep_their_word(Kind::Pause, 2);
}

#[test]
fn managers_that_are_cut_off_while_clients_write_keep_their_word() {
    let Some(()) = hosts::present("managers_that_are_cut_off") else { return };
    managers_keep_their_word(Kind::Partition, 4);
}
