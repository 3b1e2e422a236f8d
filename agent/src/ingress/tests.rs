//! The ingress between real sockets on loopback.

mod harness;
mod hops;
mod waiting;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::Health;
use harness::{Client, DEADLINE, Edge, Manners, PUBLISHED, Server, task};

async fn three() -> (Edge, Vec<Server>) {
    let edge = Edge::start();
    let mut servers = Vec::new();
    for n in 11..14 {
        servers.push(edge.serve(n, Manners::Proper).await);
    }
    edge.publish(&[11, 12, 13]);
    (edge, servers)
}

#[tokio::test]
async fn connections_spread_over_all_backends() {
    let (edge, servers) = three().await;
    let mut open: Vec<Client> = Vec::new();
    for _ in 0..9 {
        let mut client = edge.connect().await;
        client.get("/").await.expect("an answer");
        open.push(client);
    }
    assert_eq!(servers.iter().map(Server::seen).collect::<Vec<_>>(), [3, 3, 3]);
    edge.stop().await;
}

#[tokio::test]
async fn a_connection_keeps_its_backend_until_that_drains_and_never_notices() {
    let (edge, _servers) = three().await;
    let mut client = edge.connect().await;
    let first = client.get("/").await.expect("an answer");
    assert_eq!(client.get("/").await.as_ref(), Some(&first));
    edge.drained(first.parse().expect("a number")).await;
    let second = client.get("/").await.expect("the same connection goes on");
    assert_ne!(first, second);
    edge.stop().await;
}

#[tokio::test]
async fn a_drain_waits_for_the_answer_under_way() {
    let (edge, servers) = three().await;
    let mut client = edge.connect().await;
    let n: u8 = client.get("/").await.expect("an answer").parse().expect("a number");
    client.send("GET /gated HTTP/1.1\r\n\r\n").await;
    let server = &servers[usize::from(n) - 11];
    while server.seen() < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    let mut drain = Box::pin(edge.handle.drain(task(n)));
    assert!(drain.as_mut().now_or_never().is_none(), "its request is not answered yet");
    assert_ne!(edge.connect().await.get("/").await, Some(n.to_string()), "new connections go elsewhere at once");
    server.gate.add_permits(1);
    assert_eq!(client.answer().await, Some(n.to_string()));
    timeout(DEADLINE, drain).await.expect("the drain ends");
    assert_ne!(client.get("/").await.expect("another backend answers"), n.to_string());
    edge.stop().await;
}

/// Requests on kept connections and on new ones, until told to stop; every one must be answered.
fn load(edge: &Edge, clients: &mut JoinSet<()>, stop: &CancellationToken, answered: &Arc<AtomicUsize>) {
    let address = edge.address();
    for n in 0..12 {
        let (stop, answered) = (stop.clone(), answered.clone());
        clients.spawn(async move {
            let mut client = Client::new(address).await;
            while !stop.is_cancelled() {
                if n % 3 == 0 {
                    client = Client::new(address).await;
                }
                if n % 2 == 0 {
                    client.get("/").await.expect("no GET fails");
                } else {
                    client.send("POST /echo HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").await;
                    assert_eq!(client.answer().await.as_deref(), Some("abc"), "no POST fails");
                }
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_every_backend_is_replaced_under_load() {
    let (edge, servers) = three().await;
    drop(edge.connect().await);
    let (stop, answered, mut clients) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)), JoinSet::new());
    load(&edge, &mut clients, &stop, &answered);
    let mut live: BTreeMap<u8, Server> = (11..14).zip(servers).collect();
    for new in 14..26 {
        let enough = answered.load(Ordering::SeqCst) + 100;
        while answered.load(Ordering::SeqCst) < enough {
            if let Some(ended) = clients.try_join_next() {
                ended.expect("no client failed");
            }
            sleep(Duration::from_millis(1)).await;
        }
        live.insert(new, edge.serve(new, Manners::Proper).await);
        edge.publish(&live.keys().copied().collect::<Vec<_>>());
        let old = new - 3;
        edge.drained(old).await;
        // Its process ends here, and the managers' list catches up later.
        drop(live.remove(&old));
        edge.publish(&live.keys().copied().collect::<Vec<_>>());
    }
    stop.cancel();
    while let Some(ended) = clients.join_next().await {
        ended.expect("no client failed");
    }
    assert!(answered.load(Ordering::SeqCst) >= 1200);
    edge.stop().await;
}

#[tokio::test]
async fn a_backend_that_refuses_is_passed_over() {
    let edge = Edge::start();
    let _server = edge.serve(12, Manners::Proper).await;
    edge.publish(&[11, 12, 13]);
    for _ in 0..6 {
        assert_eq!(edge.connect().await.get("/").await.as_deref(), Some("12"));
    }
    edge.stop().await;
}

#[tokio::test]
async fn a_client_waits_for_the_first_backend_and_a_port_without_service_closes() {
    let edge = Edge::start();
    let _server = edge.serve(11, Manners::Proper).await;
    edge.publish(&[]);
    let mut client = edge.connect().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    edge.publish(&[11]);
    assert_eq!(client.answer().await.as_deref(), Some("11"));
    edge.handle.set(Vec::new());
    while tokio::net::TcpStream::connect(edge.address()).await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.answer().await, None, "a kept connection ends with its service");
    edge.stop().await;
}

#[tokio::test]
async fn unhealthy_backends_are_the_last_resort() {
    let (edge, _servers) = three().await;
    edge.handle.set_health(task(11), Health::Unhealthy);
    edge.handle.set_health(task(13), Health::Unhealthy);
    for _ in 0..4 {
        assert_eq!(edge.connect().await.get("/").await.as_deref(), Some("12"));
    }
    edge.handle.set_health(task(12), Health::Unhealthy);
    let mut seen = BTreeMap::new();
    for _ in 0..9 {
        *seen.entry(edge.connect().await.get("/").await.expect("an answer")).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    edge.stop().await;
}

#[tokio::test]
async fn pipelined_head_and_chunked_exchanges_stay_in_step() {
    let (edge, _servers) = three().await;
    let mut client = edge.connect().await;
    let all = "GET / HTTP/1.1\r\n\r\nHEAD / HTTP/1.1\r\n\r\nGET /chunked HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    client.send(all).await;
    let first = client.answer().await.expect("the first answer");
    assert!(client.head().await.expect("an answer without a body").contains("Content-Length: 2"));
    assert_eq!(client.answer().await, Some(first.clone()));
    assert_eq!(client.answer().await, Some(first.clone()));
    edge.drained(first.parse().expect("a number")).await;
    assert_ne!(client.get("/").await.expect("still between two requests"), first);
    edge.stop().await;
}

#[tokio::test]
async fn an_upgraded_connection_is_left_alone_and_holds_its_drain() {
    let edge = Edge::start();
    let _server = edge.serve(11, Manners::Proper).await;
    edge.publish(&[11]);
    let mut client = edge.connect().await;
    client.send("GET /upgrade HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
    assert!(client.head().await.expect("an answer").starts_with("HTTP/1.1 101"));
    let mut drain = Box::pin(edge.handle.drain(task(11)));
    let mut echo = [0; 18];
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    client.stream.read_exact(&mut echo).await.expect("the echo");
    assert_eq!(&echo, b"GET / HTTP/1.1\r\n\r\n");
    assert!(drain.as_mut().now_or_never().is_none());
    drop(client);
    timeout(DEADLINE, drain).await.expect("the drain ends with the connection");
    edge.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_a_problem_until_it_is_free() {
    let edge = Edge::start();
    let _server = edge.serve(11, Manners::Proper).await;
    let other = TcpListener::bind(edge.address()).await.expect("nobody has it yet");
    let refusal = edge.handle.check_port(PUBLISHED).await.expect_err("it is taken");
    assert!(refusal.contains("port 8000 is already in use"), "{refusal}");
    let mut problems = edge.handle.watch_problems();
    edge.publish(&[11]);
    timeout(DEADLINE, problems.wait_for(|list| *list == [refusal.clone()])).await.expect("said").expect("alive");
    assert_eq!(edge.handle.problems(), [refusal]);
    drop(other);
    timeout(DEADLINE, problems.wait_for(Vec::is_empty)).await.expect("healed").expect("alive");
    assert_eq!(edge.connect().await.get("/").await.as_deref(), Some("11"));
    assert_eq!(edge.handle.check_port(PUBLISHED).await, Ok(()), "its own port is free to it");
    edge.stop().await;
}

#[tokio::test]
async fn large_bodies_pass_whole_and_a_slow_reader_holds_up_nobody() {
    let (edge, _servers) = three().await;
    let body: String =
        (0..8 * 1024 * 1024).map(|n| char::from(b'a' + u8::try_from(n * 7 % 26).expect("small"))).collect();
    let mut slow = edge.connect().await;
    let (mut from, mut to) = slow.stream.split();
    let head = format!("POST /echo HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let sending = async {
        to.write_all(head.as_bytes()).await.expect("sent");
        to.write_all(body.as_bytes()).await.expect("sent");
    };
    timeout(DEADLINE, sending).await.expect("the upload is taken before anything is read");
    assert!(edge.connect().await.get("/").await.is_some(), "others are served meanwhile");
    let mut answer = Vec::new();
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n".len();
    while answer.len() < start + body.len() {
        assert_ne!(from.read_buf(&mut answer).await.expect("more"), 0);
    }
    assert!(answer[start..] == *body.as_bytes());
    assert!(slow.get("/").await.is_some(), "and the connection goes on");
    edge.stop().await;
}

#[tokio::test]
async fn a_half_closed_connection_still_gets_its_answer() {
    let edge = Edge::start();
    let _server = edge.serve(11, Manners::Counts).await;
    edge.publish(&[11]);
    let mut client = edge.connect().await;
    client.send("\u{1}not http").await;
    client.stream.shutdown().await.expect("half closed");
    let mut answer = String::new();
    timeout(DEADLINE, client.stream.read_to_string(&mut answer)).await.expect("in time").expect("text");
    assert_eq!(answer, "9 bytes");
    edge.drained(11).await;
    edge.stop().await;
}

#[tokio::test]
async fn a_backend_that_closes_idle_connections_is_not_noticed() {
    let edge = Edge::start();
    let server = edge.serve(11, Manners::ClosesIdle).await;
    edge.publish(&[11]);
    let mut client = edge.connect().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.as_deref(), Some("11"));
    }
    assert_eq!(server.seen(), 20);
    edge.stop().await;
}

#[tokio::test]
async fn a_request_lost_on_a_used_connection_is_sent_again_only_when_that_is_harmless() {
    let edge = Edge::start();
    let _server = edge.serve(11, Manners::DiesOnSecond).await;
    edge.publish(&[11]);
    let mut client = edge.connect().await;
    for _ in 0..6 {
        assert_eq!(client.get("/").await.as_deref(), Some("11"));
    }
    client.get("/").await.expect("this one dies and is sent again, on a connection that now was used once");
    client.send("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.answer().await, None, "a POST may have been carried out");
    edge.stop().await;
}

#[tokio::test]
async fn a_connection_that_said_nothing_yet_moves_at_once() {
    let edge = Edge::start();
    let _servers = (edge.serve(11, Manners::Proper).await, edge.serve(12, Manners::Proper).await);
    edge.publish(&[11]);
    let mut client = edge.connect().await;
    let mut other = edge.connect().await;
    assert_eq!(other.get("/").await.as_deref(), Some("11"), "both have been accepted by now");
    edge.publish(&[11, 12]);
    edge.drained(11).await;
    assert_eq!(client.get("/").await.as_deref(), Some("12"));
    assert_eq!(other.get("/").await.as_deref(), Some("12"));
    edge.stop().await;
}

#[tokio::test]
async fn stopping_ends_idle_connections() {
    let (edge, _servers) = three().await;
    let mut client = edge.connect().await;
    client.get("/").await.expect("an answer");
    edge.stop().await;
    let mut nothing = Vec::new();
    assert_eq!(client.stream.read_to_end(&mut nothing).await.expect("a proper end"), 0);
}

#[test]
fn clients_leave_descriptors_to_everything_else() {
    for (descriptors, places) in [(u64::MAX, 16_384), (65_536, 15_872), (1_024, 128), (0, 0)] {
        assert_eq!(super::places(descriptors), places, "of {descriptors}");
    }
}
