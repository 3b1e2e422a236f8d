//! The leases that a new leader grants.

use std::collections::BTreeMap;

use muster_proto::node::{NodeSpec, Role};
use tokio::time::Instant;

use super::*;
use crate::{
    ca::NodeKey,
    clock::{Clock, WallClock},
    founding,
    outside::random::HostRandom,
};

const SHORT: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(3);

fn spec(lease: Duration) -> ClusterSpec {
    ClusterSpec { heartbeat: SHORT / 6, lease, ..ClusterSpec::default() }
}

/// It has the entry that made the lease longer, and not the word that it is committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_reckons_with_a_lease_that_the_last_entry_made_longer() {
    let dir = TempDir::new().unwrap();
    let config = config(dir.path());
    let (key, now) = (NodeKey::generate().unwrap().public_der(), WallClock.now());
    let begun =
        founding::begin(config.cluster_id, config.node_id, &key, &config.cluster_key, spec(SHORT), now, &HostRandom)
            .unwrap();
    let manager = Manager::open(config.clone(), host(), Start::Cluster(begun.bootstrap)).await.unwrap();
    let replica = manager.handle().replica().clone();
    let id = NodeId::from_bits(7);
    let node = NodeSpec { role: Role::Worker, labels: BTreeMap::new(), ..NodeSpec::default() };
    replica.propose(Command::JoinNode { id, spec: node, address: "10.0.0.7:7377".into() }).await.unwrap();
    let before = manager.raft.metrics().borrow().last_applied;
    let version = replica.read(|state| state.cluster().unwrap().version);
    let longer = Command::UpdateCluster { version, spec: Box::new(spec(LONG)) };
    assert!(matches!(replica.propose(longer).await.unwrap(), Outcome::Done { .. }));
    manager.close().await;
    let mut opened = open_store(dir.path(), Missing::Refuse);
    opened.log.save_committed(before).await.unwrap();
    drop(opened);

    let began = Instant::now();
    let manager = Manager::open(config, host(), Start::Again).await.unwrap();
    let mut down = manager.handle().leases().down();
    timeout(PATIENCE, down.wait_for(|down| down.contains(&id))).await.expect("the end of its lease").unwrap();
    assert!(began.elapsed() >= LONG, "down after {:?}", began.elapsed());
    manager.close().await;
}
