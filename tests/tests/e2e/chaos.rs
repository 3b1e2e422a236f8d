//! A short run of the chaos program against the real daemon; longer ones are for the hand.

use muster_chaos::kill_daemon::{self, Options};

use crate::MUSTER;

#[test]
fn a_daemon_that_is_killed_while_clients_write_keeps_its_word() {
    let options = Options { rounds: 5, clients: 3, seed: None, muster: Some(MUSTER.into()), keep: false };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let kept_its_word = runtime.block_on(kill_daemon::run(&options)).expect("the run comes to its end");
    assert!(kept_its_word, "see the report above");
}
