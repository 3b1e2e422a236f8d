//! Short runs of the chaos program against real daemons; longer ones are for the hand.

use muster_chaos::{Options, kill_daemon};

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
