//! Managers of two versions in one group: what all read goes on, and what one cannot read stays out of the log.

use muster_core::command::{Command, LOG_FORMAT};
use muster_manager::{Start, replica::ProposeError};

use crate::bench::{Bench, certify, service, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_writes_what_its_oldest_manager_reads() {
    let mut bench = Bench::of(3).await;
    let reads = LOG_FORMAT - 1;
    // As a manager of the version before says of itself.
    bench.one(1).propose(certify(3, reads)).await;
    for id in 1..=3 {
        bench.one(id).until("the row", |state| state.log_format() == reads).await;
    }
    let newer = || Command::MoveTasks { moves: Vec::new() };
    assert_eq!(newer().format(), LOG_FORMAT, "a command that the version before does not know");
    for id in 1..=3 {
        let refused = soon("a refusal", bench.one(id).handle().replica().propose(newer())).await.unwrap_err();
        let ProposeError::OlderManager { reads: said, needs: LOG_FORMAT, .. } = refused else { panic!("{refused}") };
        assert_eq!(said, reads);
    }
    bench.one(1).propose(service(1)).await;
    bench.agreed().await;

    // Whoever leads: the old one's log has nothing that it cannot read, and it comes back with it.
    bench.one_mut(1).kill().await;
    bench.leader().await.propose(service(2)).await;
    bench.one_mut(1).start(Start::Again).await;
    bench.one_mut(3).kill().await;
    bench.leader().await.propose(service(3)).await;
    bench.one_mut(3).start(Start::Again).await;
    bench.one(3).until("all of it", |state| state.services().count() == 3).await;
    bench.agreed().await;

    // Upgraded, it says so, and what is new works.
    let leader = bench.leader().await;
    leader.propose(certify(3, LOG_FORMAT)).await;
    leader.propose(newer()).await;
    bench.agreed().await;
}
