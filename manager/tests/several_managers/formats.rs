//! Managers of two versions in one group: what all read goes on, and what one cannot read stays out of the log.

use muster_core::command::{Command, LOG_FORMAT};
use muster_manager::{Start, replica::ProposeError};
use muster_proto::cluster::ClusterSpec;

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
    let newer = || Command::UpdateCluster {
        version: bench.one(1).handle().replica().read(|state| state.cluster().unwrap().version),
        spec: Box::new(ClusterSpec::default()),
    };
    for id in 1..=3 {
        let refused = soon("a refusal", bench.one(id).handle().replica().propose(newer())).await.unwrap_err();
        assert!(matches!(refused, ProposeError::OlderManager { reads: 1, needs: LOG_FORMAT, .. }), "{refused}");
        assert!(refused.to_string().contains("upgrade muster there first"), "{refused}");
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
}
