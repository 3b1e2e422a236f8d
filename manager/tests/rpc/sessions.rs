//! What agents and the dispatcher do with each other.

use expect_test::expect;
use muster_manager::ca::PeerIdentity;
use muster_proto::{
    id::{ClusterId, NodeId},
    node::Role,
    time::Timestamp,
    v1::{
        self,
        agent_message::{Hello, Message as Said, Reports},
        manager_message::Message as Heard,
    },
};
use tonic::Code;

use crate::{
    agent::{Agent, description, hello, report},
    bench::{Bench, CLUSTER, NODE, is_running, replicated, soon},
};

#[tokio::test]
async fn a_welcome_carries_the_clusters_settings() {
    let bench = Bench::start().await;
    let agent = Agent::connect(&bench).await;
    assert_eq!((agent.welcome.heartbeat_ms, agent.welcome.lease_ms), (300, 3_000));
    assert_eq!(agent.orders.managers, ["127.0.0.1:7377"]);
    assert_eq!(agent.orders.role(), v1::Role::Manager);
    bench.stop().await;
}

#[tokio::test]
async fn who_may_not_have_a_session_is_told_why() {
    let bench = Bench::start().await;
    let hellos = [
        Hello { protocol: 99, ..hello() },
        Hello { cluster_id: ClusterId::from_bits(77).to_string(), ..hello() },
        Hello { node_id: NodeId::from_bits(78).to_string(), ..hello() },
        Hello { node_id: "x".repeat(100_000), ..hello() },
        Hello { incarnation: 7, ..hello() },
    ];
    let mut refusals = Vec::new();
    for hello in hellos {
        let Err(refused) = Agent::try_connect(&bench, hello).await else { panic!("refused") };
        refusals.push(format!("{:?}: {}", refused.code(), refused.message()));
    }
    bench.stop().await;
    let stranger = PeerIdentity {
        cluster_id: CLUSTER,
        node_id: NodeId::from_bits(79),
        role: Role::Worker,
        raft_id: None,
        root: None,
        expires_at: Timestamp::MAX,
    };
    let bench = Bench::start_as(stranger).await;
    let hello = Hello { node_id: stranger.node_id.to_string(), ..hello() };
    let Err(refused) = Agent::try_connect(&bench, hello).await else { panic!("refused") };
    refusals.push(format!("{:?}: {}", refused.code(), refused.message()));
    expect![[r#"
        FailedPrecondition: the agent speaks session protocol 99, this manager 1; run the same version of muster on both
        PermissionDenied: the node belongs to another cluster; run `muster leave` there before it joins this one
        PermissionDenied: the agent says that it is node "0000000000000000000000026", and its certificate is that of node 0000000000000000000000002; give each node its own data folder
        PermissionDenied: the agent says that it is node "xxxxxxxxxxxxxxxxxxxxxxxxx", and its certificate is that of node 0000000000000000000000002; give each node its own data folder
        FailedPrecondition: this manager was left behind when the cluster was recovered (its incarnation is 1, the node has seen 7); run `muster leave --force` on the manager and join it again
        PermissionDenied: node 0000000000000000000000027 is not a member of this cluster (any more); run `muster leave --force` there and join it again"#]].assert_eq(&refusals.join("\n"));
    bench.stop().await;
}

#[tokio::test]
async fn a_newer_session_takes_the_place_of_the_older() {
    let mut bench = Bench::start().await;
    let mut older = Agent::connect(&bench).await;
    bench.create(&replicated("web", "app:1", 1)).await.expect("created");
    older.hear_until("a task", |agent| agent.assigned.len() == 1).await;
    let newer = Agent::connect(&bench).await;
    assert_eq!(newer.assigned, older.assigned, "the whole set again");
    let ended = soon("the end", async {
        loop {
            if let Err(ended) = older.hear().await {
                return ended;
            }
        }
    });
    assert_eq!(ended.await.code(), Code::Aborted);
    newer.heartbeat(1, None).await;
    let mut newer = newer;
    newer.hear_until("an answer", |agent| agent.heartbeats_acked == 1).await;
    bench.stop().await;
}

/// A lease that is shortened behind an agent's back would end before the agent knows, and with it the promise of one task
/// at most.
#[tokio::test]
async fn a_session_ends_when_the_lease_that_it_began_with_does() {
    let mut bench = Bench::start().await;
    let mut agent = Agent::connect(&bench).await;
    let cluster = soon("get", bench.control.get_cluster(v1::GetClusterRequest {})).await.expect("read").into_inner();
    let mut spec = cluster.spec.expect("it has settings");
    (spec.heartbeat_ms, spec.lease_ms) = (500, 1_500);
    let request = v1::UpdateClusterRequest { version: cluster.version, spec: Some(spec) };
    soon("update", bench.control.update_cluster(request)).await.expect("updated");
    let ended = soon("the end", async {
        loop {
            if let Err(ended) = agent.hear().await {
                return ended;
            }
        }
    });
    assert_eq!(ended.await.code(), Code::Aborted);
    let next = Agent::connect(&bench).await;
    assert_eq!((next.welcome.heartbeat_ms, next.welcome.lease_ms), (150, 1_500));
    bench.stop().await;
}

#[tokio::test]
async fn a_report_under_a_superseded_fence_is_settled_and_changes_nothing() {
    let mut bench = Bench::start().await;
    let mut agent = Agent::connect(&bench).await;
    bench.create(&replicated("web", "app:1", 1)).await.expect("created");
    agent.hear_until("a task", |agent| agent.assigned.len() == 1).await;
    let task = agent.assigned.values().next().expect("assigned").clone();

    let stale = v1::Assignment { fence: task.fence - 1, ..task.clone() };
    agent.report(vec![report(&stale, v1::TaskState::Running)]).await;
    assert!(!bench.tasks("web").await.iter().any(is_running));
    agent.report(vec![report(&task, v1::TaskState::Running)]).await;
    assert!(bench.tasks("web").await.iter().all(is_running));
    bench.stop().await;
}

#[tokio::test]
async fn every_message_of_reports_is_acknowledged_in_order() {
    const MESSAGES: u64 = 200;
    let bench = Bench::start().await;
    let mut agent = Agent::connect(&bench).await;
    let mut acked = Vec::new();
    for sequence in 1..=MESSAGES {
        agent.say(Said::Reports(Reports { sequence, reports: Vec::new() })).await;
        while sequence - (acked.len() as u64) >= 8 || (sequence == MESSAGES && (acked.len() as u64) < MESSAGES) {
            if let Heard::ReportsAck(ack) = agent.hear().await.expect("the session goes on") {
                acked.push(ack.sequence);
            }
        }
    }
    assert!(acked.iter().copied().eq(1..=MESSAGES), "{acked:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_node_is_ready_as_long_as_it_says_so_and_is_as_it_describes_itself() {
    let mut bench = Bench::start().await;
    let mut agent = Agent::connect(&bench).await;
    agent.heartbeat(7, Some(description("second"))).await;
    agent.hear_until("an answer", |agent| agent.heartbeats_acked == 7).await;
    let renamed = |node: &v1::Node| node.description.as_ref().is_some_and(|now| now.hostname == "second");
    let node = soon("the new description", async {
        loop {
            let nodes = bench.control.list_nodes(v1::ListNodesRequest {}).await.expect("listed").into_inner().nodes;
            if let Some(node) = nodes.into_iter().find(renamed) {
                return node;
            }
            tokio::task::yield_now().await;
        }
    });
    let node = node.await;
    assert_eq!((node.id.as_str(), node.state(), node.leader), (NODE.to_string().as_str(), v1::NodeState::Ready, true));
    assert_eq!(node.address, "127.0.0.1:7377", "a description leaves the address alone");

    let by_name = v1::GetNodeRequest { node: "second".to_owned() };
    let found = soon("get", bench.control.get_node(by_name)).await.expect("found by its hostname").into_inner();
    let before = found.node.expect("a node").version;
    agent.heartbeat(8, Some(description("second"))).await;
    agent.hear_until("an answer", |agent| agent.heartbeats_acked == 8).await;
    // A report goes through the log after whatever the heartbeat had put there.
    agent.report(Vec::new()).await;
    let by_id = v1::GetNodeRequest { node: NODE.to_string() };
    let found = soon("get", bench.control.get_node(by_id)).await.expect("found by its id").into_inner();
    assert_eq!(found.node.expect("a node").version, before, "nothing new was said, nothing was written");
    bench.stop().await;
}

#[tokio::test]
async fn a_manager_that_stops_ends_its_streams() {
    let mut bench = Bench::start().await;
    let mut agent = Agent::connect(&bench).await;
    bench.create(&replicated("web", "app:1", 1)).await.expect("created");
    let request = v1::GetServiceRequest { service: "web".to_owned() };
    let mut watch = soon("watch", bench.control.watch_service(request)).await.expect("watched").into_inner();
    let ended = async {
        let session = async {
            loop {
                if let Err(ended) = agent.hear().await {
                    return ended;
                }
            }
        };
        let watch = async {
            loop {
                if let Err(ended) = watch.message().await {
                    return ended;
                }
            }
        };
        tokio::join!(session, watch)
    };
    let ((session, watch), ()) = tokio::join!(ended, bench.stop());
    assert_eq!((session.code(), watch.code()), (Code::Unavailable, Code::Unavailable));
}
