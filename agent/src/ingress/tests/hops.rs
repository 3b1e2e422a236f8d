//! Two and three nodes: connections to tasks on another one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use muster_proto::id::NodeId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    harness::{Client, DEADLINE, Edge, HERE, Manners, Server, task},
    load,
};
use crate::ingress::fake::{Nodes, Presence};

const THERE: NodeId = NodeId::from_bits(2);
const ELSEWHERE: NodeId = NodeId::from_bits(3);

/// This node without a task, and another with these.
async fn here_and_there(tasks: &[u8]) -> (Arc<Nodes>, Edge, Edge, Vec<Server>) {
    let nodes = Arc::<Nodes>::default();
    let [here, there] = <[Edge; 2]>::try_from(Edge::several(&nodes, &[HERE, THERE])).ok().expect("two");
    let mut servers = Vec::new();
    for &n in tasks {
        servers.push(there.serve(n, Manners::Proper).await);
        there.offer(n);
    }
    let all: Vec<_> = tasks.iter().map(|&n| (n, THERE)).collect();
    here.list(&all);
    there.list(&all);
    (nodes, here, there, servers)
}

async fn stop(edges: impl IntoIterator<Item = Edge>) {
    for edge in edges {
        edge.stop().await;
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn a_task_of_another_node_answers_and_large_bodies_pass_whole() {
    let (_nodes, here, there, _servers) = here_and_there(&[21]).await;
    let mut client = here.connect().await;
    assert_eq!(client.get("/").await.as_deref(), Some("21"));
    assert_eq!(client.get("/chunked").await.as_deref(), Some("21"), "on the same connection");
    let body: String = (0..1024 * 1024).map(|n| char::from(b'a' + u8::try_from(n * 7 % 26).expect("small"))).collect();
    let head = format!("POST /echo HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    client.send(&(head + &body)).await;
    assert!(client.answer().await == Some(body));
    stop([here, there]).await;
}

#[tokio::test]
async fn what_is_not_http_passes_both_ways_with_its_half_closes() {
    let (_nodes, here, there, _servers) = here_and_there(&[]).await;
    let _server = there.serve(21, Manners::Counts).await;
    there.offer(21);
    here.list(&[(21, THERE)]);
    there.list(&[(21, THERE)]);
    let mut client = here.connect().await;
    client.send("\u{1}not http").await;
    client.stream.shutdown().await.expect("half closed");
    let mut answer = String::new();
    timeout(DEADLINE, client.stream.read_to_string(&mut answer)).await.expect("in time").expect("text");
    assert_eq!(answer, "9 bytes");
    there.drained(21).await;
    stop([here, there]).await;
}

#[tokio::test]
async fn a_drain_waits_for_relayed_requests_and_refuses_new_ones_of_a_node_that_is_behind() {
    let (nodes, here, there, servers) = here_and_there(&[21, 22]).await;
    let mut client = here.connect().await;
    let n: u8 = client.get("/").await.expect("an answer").parse().expect("a number");
    client.send("GET /gated HTTP/1.1\r\n\r\n").await;
    let server = &servers[usize::from(n) - 21];
    until("the request has arrived", || server.seen() == 2).await;

    // Only its own node knows so far.
    let mut drain = Box::pin(there.handle.drain(task(n)));
    assert!(drain.as_mut().now_or_never().is_none(), "its request is not answered yet");
    for _ in 0..8 {
        let other = here.connect().await.get("/").await.expect("refused there, and tried elsewhere");
        assert_ne!(other, n.to_string());
    }
    server.gate.add_permits(1);
    assert_eq!(client.answer().await, Some(n.to_string()));
    assert_eq!(client.get("/").await, Some(n.to_string()), "the connection is still its own, and served");
    assert!(drain.as_mut().now_or_never().is_none());

    // Now the list comes: the idle connection moves, and with that the task may stop.
    here.list(&[(43 - n, THERE)]);
    timeout(DEADLINE, drain).await.expect("the drain ends");
    assert_eq!(client.get("/").await, Some((43 - n).to_string()), "unseen by the client");
    assert_eq!(nodes.dialled(HERE), 0);
    stop([here, there]).await;
}

#[tokio::test]
async fn a_client_waits_for_the_list_when_the_only_task_has_just_gone() {
    let (_nodes, here, there, _servers) = here_and_there(&[21, 22]).await;
    here.list(&[(21, THERE)]);
    there.drained(21).await;
    let mut client = here.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    here.list(&[(21, THERE), (22, THERE)]);
    assert_eq!(client.answer().await.as_deref(), Some("22"));
    stop([here, there]).await;
}

#[tokio::test]
async fn a_connection_that_comes_before_its_task_is_known_waits_a_moment() {
    let (_nodes, here, there, _servers) = here_and_there(&[]).await;
    let _server = there.serve(21, Manners::Proper).await;
    here.list(&[(21, THERE)]);
    let mut client = here.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    there.offer(21);
    there.list(&[(21, THERE)]);
    assert_eq!(client.answer().await.as_deref(), Some("21"));
    stop([here, there]).await;
}

#[tokio::test]
async fn a_node_that_refuses_or_does_not_answer_costs_no_request_and_is_avoided() {
    let nodes = Arc::<Nodes>::default();
    let edges = Edge::several(&nodes, &[HERE, THERE, ELSEWHERE]);
    let _servers = (edges[0].serve(11, Manners::Proper).await, edges[2].serve(31, Manners::Proper).await);
    edges[0].offer(11);
    edges[2].offer(31);
    for edge in &edges {
        edge.list(&[(11, HERE), (21, THERE), (22, THERE), (31, ELSEWHERE)]);
    }
    for presence in [None, Some(Presence::Silent)] {
        match presence {
            None => nodes.remove(THERE),
            Some(presence) => nodes.set(THERE, presence),
        }
        let (before, mut open) = (nodes.dialled(THERE), Vec::new());
        while open.len() < 32 || nodes.dialled(THERE) == before {
            let mut client = edges[0].connect().await;
            let answer = client.get("/").await.expect("another node answers");
            assert!(["11", "31"].contains(&answer.as_str()), "{answer}");
            open.push(client);
        }
        assert!((nodes.dialled(THERE) - before) * 2 < open.len(), "it is tried now and then");
    }
    stop(edges).await;
}

#[tokio::test]
async fn the_only_node_may_be_away_for_as_long_as_its_daemon_takes_to_start() {
    let (nodes, here, there, _servers) = here_and_there(&[21]).await;
    nodes.remove(THERE);
    let mut client = here.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    until("it was tried", || nodes.dialled(THERE) > 1).await;
    nodes.set(THERE, Presence::Up(there.handle.clone()));
    assert_eq!(client.answer().await.as_deref(), Some("21"));
    stop([here, there]).await;
}

/// Its agent was started again, and answers before it has found what runs there.
#[tokio::test]
async fn a_task_that_its_node_finds_late_is_asked_for_again() {
    let (nodes, here, there, _servers) = here_and_there(&[]).await;
    let _server = there.serve(21, Manners::Proper).await;
    here.list(&[(21, THERE)]);
    there.list(&[(21, THERE)]);
    let mut client = here.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    until("it was refused and is tried again", || nodes.dialled(THERE) > 1).await;
    there.offer(21);
    assert_eq!(client.answer().await.as_deref(), Some("21"));
    stop([here, there]).await;
}

#[tokio::test]
async fn garbage_and_silence_from_a_peer_are_let_go_and_other_ports_are_closed() {
    let (nodes, here, there, _servers) = here_and_there(&[21]).await;
    let dial = nodes.seen_from(HERE);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[1, 0], &[9, 1, 0]] {
        let mut wire = dial.node(THERE, "").await.expect("a connection");
        wire.write_all(garbage).await.expect("taken");
        wire.flush().await.expect("sent");
        let mut rest = Vec::new();
        // Closed half-way, perhaps, which is as well.
        let _ = timeout(DEADLINE, wire.read_to_end(&mut rest)).await.expect("let go");
        assert!(rest.is_empty() || rest == [4], "{rest:?}");
    }
    let mut wire = dial.node(THERE, "").await.expect("a connection");
    let ssh = crate::ingress::hop::Header { task_id: task(21), target: 22 };
    let answer = timeout(DEADLINE, crate::ingress::hop::ask(&mut wire, ssh)).await.expect("answered").expect("read");
    assert_eq!(answer, crate::ingress::hop::Answer::NotHere);
    stop([here, there]).await;
}

/// Every list arrives late somewhere: at its own node first, and later at the other, or the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_tasks_are_replaced_on_two_nodes_under_load_on_both() {
    let nodes = Arc::<Nodes>::default();
    let edges = Edge::several(&nodes, &[HERE, THERE]);
    let place = |n: u8| usize::from(n % 2);
    let node = |n: u8| [HERE, THERE][place(n)];
    let mut live: BTreeMap<u8, Server> = BTreeMap::new();
    for n in 10..14 {
        live.insert(n, edges[place(n)].serve(n, Manners::Proper).await);
        edges[place(n)].offer(n);
    }
    let publish = |edge: &Edge, live: &[u8]| edge.list(&live.iter().map(|&n| (n, node(n))).collect::<Vec<_>>());
    let all: Vec<u8> = live.keys().copied().collect();
    edges.iter().for_each(|edge| publish(edge, &all));
    for edge in &edges {
        drop::<Client>(edge.connect().await);
    }
    let (stop_load, answered, mut clients) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)), JoinSet::new());
    edges.iter().for_each(|edge| load(edge, &mut clients, &stop_load, &answered));
    for n in 14..30 {
        let leaving = n - 4;
        live.insert(n, edges[place(n)].serve(n, Manners::Proper).await);
        edges[place(n)].offer(n);
        let with: Vec<u8> = live.keys().copied().collect();
        let without: Vec<u8> = with.iter().copied().filter(|at| *at != leaving).collect();
        let first = usize::from(n % 4 < 2);
        publish(&edges[first], &with);
        if n % 3 == 0 {
            publish(&edges[first], &without);
        }
        let drained = edges[place(leaving)].handle.drain(task(leaving));
        publish(&edges[1 - first], &with);
        let before = answered.load(Ordering::SeqCst);
        until("load goes on", || answered.load(Ordering::SeqCst) > before + 20).await;
        edges.iter().for_each(|edge| publish(edge, &without));
        timeout(DEADLINE, drained).await.expect("drained");
        live.remove(&leaving);
    }
    stop_load.cancel();
    while let Some(ended) = clients.join_next().await {
        ended.expect("no request failed");
    }
    stop(edges).await;
}
