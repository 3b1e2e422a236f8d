//! Tasks moved to a node that joined: what is shown is what is done, and done once.

use std::time::Duration;

use muster_core::command::Command;
use muster_proto::{
    convert::ConvertError,
    id::NodeId,
    node::{NodeDescription, NodeSpec},
    v1,
};
use tonic::{Code, Status};

use crate::{
    agent::{Agent, description},
    bench::{Bench, NODE, is_running, replicated, soon},
    requests::asked,
};

const OTHER: NodeId = NodeId::from_bits(9);
/// A lease that outlives the test.
const LONG: Duration = Duration::from_secs(3_600);

async fn propose(bench: &Bench, command: Command) {
    let outcome = soon("the command", bench.handle.replica().propose(command)).await;
    outcome.expect("committed");
}

/// Four tasks of `web` run on the first node, and another has joined.
async fn crowded() -> (Bench, Agent) {
    let mut bench = Bench::start().await;
    let mut agent = Agent::connect(&bench).await;
    agent.heartbeat(1, Some(description("host1"))).await;
    agent.hear_until("an answer", |agent| agent.heartbeats_acked == 1).await;
    bench.handle.leases().renew(NODE, LONG);
    bench.create(&replicated("web", "app:1", 4)).await.expect("created");
    agent.obey_until("four tasks", |agent| agent.assigned.len() == 4).await;
    bench.watch_until("web", "four run", |told| told.tasks.iter().filter(|task| is_running(task)).count() == 4).await;
    let address = "127.0.0.1:7399".to_owned();
    propose(&bench, Command::JoinNode { id: OTHER, spec: NodeSpec::default(), address: address.clone() }).await;
    let said: Result<NodeDescription, ConvertError> = description("host2").try_into();
    let said = Box::new(said.expect("it is whole"));
    propose(&bench, Command::DescribeNode { id: OTHER, description: said, address }).await;
    bench.handle.leases().renew(OTHER, LONG);
    (bench, agent)
}

async fn rebalance(
    bench: &mut Bench,
    id: u128,
    max_moves: u32,
    dry_run: bool,
) -> Result<v1::RebalanceResponse, Status> {
    let request = asked(id, v1::RebalanceRequest { max_moves, dry_run });
    soon("rebalance", bench.control.rebalance(request)).await.map(tonic::Response::into_inner)
}

async fn moving(bench: &mut Bench) -> usize {
    bench.tasks("web").await.iter().filter(|task| task.moves_to.is_some()).count()
}

#[tokio::test]
async fn what_is_shown_is_done_and_a_request_is_carried_out_once() {
    let (mut bench, _agent) = crowded().await;
    let shown = rebalance(&mut bench, 1, 10, true).await.expect("a plan");
    assert_eq!((shown.moves.len(), shown.more, shown.held.as_deref()), (2, false, None), "{shown:?}");
    assert!(shown.moves.iter().all(|one| one.to == OTHER.to_string() && one.service_name == "web"));
    assert_eq!(moving(&mut bench).await, 0, "a plan changes nothing");

    let one = rebalance(&mut bench, 2, 1, false).await.expect("moves");
    assert_eq!((&one.moves[..], one.more), (&shown.moves[..1], true));
    let again = rebalance(&mut bench, 2, 1, false).await.expect("the first answer");
    assert_eq!(again.moves, one.moves);
    assert_eq!(moving(&mut bench).await, 1, "once, though it was asked for twice");
    let more = rebalance(&mut bench, 3, 10, false).await.expect("an answer");
    assert!(more.moves.is_empty() && more.staying.len() <= 1, "tasks of it are moving: {more:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_budget_out_of_bounds_and_a_node_that_is_away_move_nothing() {
    let (mut bench, _agent) = crowded().await;
    for max_moves in [0, 501, u32::MAX] {
        let refused = rebalance(&mut bench, 1, max_moves, false).await.expect_err("out of bounds");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("ask for 1 to 500"), "{refused}");
    }
    let (id, address) = (NodeId::from_bits(10), "127.0.0.1:7398".to_owned());
    propose(&bench, Command::JoinNode { id, spec: NodeSpec::default(), address }).await;
    let held = rebalance(&mut bench, 2, 10, false).await.expect("an answer");
    assert!(held.moves.is_empty() && held.held.expect("held").contains(&id.to_string()));
    bench.stop().await;
}
