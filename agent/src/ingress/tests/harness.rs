//! A loopback network of its own for each test, tiny servers on it, and a client that speaks just enough HTTP.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use muster_proto::{
    assignment::{Backend, IngressService},
    endpoint::{PortConfig, Protocol, PublishMode},
    id::{NodeId, ServiceId, TaskId},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::ingress::{
    Config, Handle, Ingress,
    fake::{Nodes, Presence},
};

pub(super) const PUBLISHED: u16 = 8000;
const TARGET: u16 = 8080;
const SERVICE: ServiceId = ServiceId::from_bits(1);
pub(super) const HERE: NodeId = NodeId::from_bits(1);

/// Nothing here takes long; a machine may.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

static NETWORKS: AtomicU8 = AtomicU8::new(1);

pub(super) fn task(n: u8) -> TaskId {
    TaskId::from_bits(u128::from(n))
}

/// An ingress that runs, on 127.x.y.1; its backends are at 127.x.y.n.
pub(super) struct Edge {
    pub(super) handle: Handle,
    node: NodeId,
    network: [u8; 3],
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Edge {
    pub(super) fn start() -> Self {
        Self::on(network(), HERE, &Arc::default())
    }

    /// The ingresses of several nodes, each with a network of its own, that reach each other.
    pub(super) fn several(nodes: &Arc<Nodes>, ids: &[NodeId]) -> Vec<Self> {
        let edge = |id: &NodeId| {
            let edge = Self::on(network(), *id, nodes);
            nodes.set(*id, Presence::Up(edge.handle.clone()));
            edge
        };
        ids.iter().map(edge).collect()
    }

    fn on(network: [u8; 3], node: NodeId, nodes: &Arc<Nodes>) -> Self {
        let ingress = Ingress::new(Config { node, dial: nodes.seen_from(node), ip: ip(network, 1) });
        let (handle, shutdown) = (ingress.handle(), CancellationToken::new());
        let running = tokio::spawn(ingress.run(shutdown.clone()));
        Self { handle, node, network, shutdown, running }
    }

    pub(super) fn ip(&self, n: u8) -> IpAddr {
        ip(self.network, n)
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip(1), PUBLISHED)
    }

    /// All of this node.
    pub(super) fn publish(&self, backends: &[u8]) {
        backends.iter().for_each(|&n| self.offer(n));
        self.list(&backends.iter().map(|&n| (n, self.node)).collect::<Vec<_>>());
    }

    pub(super) fn offer(&self, n: u8) {
        self.handle.offer(task(n), SERVICE, self.ip(n));
    }

    /// The managers' list.
    pub(super) fn list(&self, backends: &[(u8, NodeId)]) {
        let backends = backends.iter().map(|&(n, node_id)| Backend {
            task_id: task(n),
            node_id,
            address: self.ip(n),
            node_address: "node:7377".to_owned(),
        });
        self.handle.set(vec![IngressService {
            service_id: SERVICE,
            ports: vec![PortConfig {
                protocol: Protocol::Tcp,
                target: TARGET,
                published: PUBLISHED,
                mode: PublishMode::Ingress,
            }],
            backends: backends.collect(),
        }]);
    }

    pub(super) async fn serve(&self, n: u8, manners: Manners) -> Server {
        Server::start(SocketAddr::new(self.ip(n), TARGET), n, manners).await
    }

    pub(super) async fn connect(&self) -> Client {
        let begin = Instant::now();
        loop {
            match TcpStream::connect(self.address()).await {
                Ok(stream) => return Client { stream, read: Vec::new() },
                Err(error) => assert!(begin.elapsed() < DEADLINE, "the port never opened: {error}"),
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn drained(&self, n: u8) {
        timeout(DEADLINE, self.handle.drain(task(n))).await.expect("the drain ends");
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        timeout(DEADLINE, self.running).await.expect("the ingress stops").expect("and does not panic");
    }
}

fn network() -> [u8; 3] {
    // Test processes that run at the same time differ in the second byte, mostly.
    let process = u8::try_from(std::process::id() % 250).expect("a remainder of 250 fits") + 2;
    [127, process, NETWORKS.fetch_add(1, Ordering::Relaxed)]
}

fn ip(network: [u8; 3], n: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(network[0], network[1], network[2], n))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    Proper,
    /// Closes each connection after its first answer, without saying so before.
    ClosesIdle,
    /// Answers the first request of a connection and closes at the second, unanswered.
    DiesOnSecond,
    /// Not HTTP: reads to the end, then says how much there was.
    Counts,
}

/// Answers with its number. Dropped, it is gone with all its connections.
pub(super) struct Server {
    pub(super) requests: Arc<AtomicUsize>,
    /// `/gated` takes a permit before it answers.
    pub(super) gate: Arc<Semaphore>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    async fn start(address: SocketAddr, n: u8, manners: Manners) -> Self {
        let listener = TcpListener::bind(address).await.expect("a loopback address of our own is free");
        let (requests, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let shared = (requests.clone(), gate.clone());
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let connection = Connection { stream, read: Vec::new(), n, shared: shared.clone() };
                connections.spawn(connection.serve(manners));
            }
        });
        Self { requests, gate, accepting }
    }

    pub(super) fn seen(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    n: u8,
    shared: (Arc<AtomicUsize>, Arc<Semaphore>),
}

impl Connection {
    /// Errors end it: the client's side of the test sees them.
    async fn serve(mut self, manners: Manners) -> Option<()> {
        if manners == Manners::Counts {
            let mut all = Vec::new();
            self.stream.read_to_end(&mut all).await.ok()?;
            return self.stream.write_all(format!("{} bytes", all.len()).as_bytes()).await.ok();
        }
        for count in 1.. {
            let head = until(&mut self.stream, &mut self.read, b"\r\n\r\n").await?;
            if manners == Manners::DiesOnSecond && count == 2 {
                return None;
            }
            let body = exactly(&mut self.stream, &mut self.read, length(&head)).await?;
            self.shared.0.fetch_add(1, Ordering::SeqCst);
            self.answer(&head, &body).await?;
            if manners == Manners::ClosesIdle {
                return None;
            }
        }
        None
    }

    async fn answer(&mut self, head: &str, body: &[u8]) -> Option<()> {
        let mut words = head.split_ascii_whitespace();
        let (method, path) = (words.next()?, words.next()?);
        let text = match path.split_once('/')?.1 {
            "chunked" => {
                let chunks =
                    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", self.n);
                return self.stream.write_all(chunks.as_bytes()).await.ok();
            }
            "upgrade" => {
                self.stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n").await.ok()?;
                let (mut from, mut to) = self.stream.split();
                return tokio::io::copy(&mut from, &mut to).await.ok().map(drop);
            }
            "gated" => {
                self.shared.1.acquire().await.ok()?.forget();
                self.n.to_string().into_bytes()
            }
            "echo" => body.to_vec(),
            _ => self.n.to_string().into_bytes(),
        };
        let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len());
        self.stream.write_all(start.as_bytes()).await.ok()?;
        if method == "HEAD" { Some(()) } else { self.stream.write_all(&text).await.ok() }
    }
}

pub(super) struct Client {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(super) async fn new(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.expect("the port is open"), read: Vec::new() }
    }

    pub(super) async fn get(&mut self, path: &str) -> Option<String> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await;
        self.answer().await
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("the ingress takes it");
    }

    /// The next response's body; None when the connection ends instead.
    pub(super) async fn answer(&mut self) -> Option<String> {
        let head = self.head().await?;
        let body = if head.contains("chunked") {
            let text = until(&mut self.stream, &mut self.read, b"0\r\n\r\n").await?;
            text.split("\r\n").nth(1)?.to_owned().into_bytes()
        } else {
            timeout(DEADLINE, exactly(&mut self.stream, &mut self.read, length(&head))).await.expect("in time")?
        };
        Some(String::from_utf8(body).expect("text"))
    }

    pub(super) async fn head(&mut self) -> Option<String> {
        timeout(DEADLINE, until(&mut self.stream, &mut self.read, b"\r\n\r\n")).await.expect("an answer in time")
    }
}

fn length(head: &str) -> usize {
    let field = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    field.map_or(0, |value| value.parse().expect("a number"))
}

async fn more(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(read).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}

async fn until(stream: &mut TcpStream, read: &mut Vec<u8>, end: &[u8]) -> Option<String> {
    loop {
        if let Some(at) = read.windows(end.len()).position(|window| window == end) {
            let rest = read.split_off(at + end.len());
            return String::from_utf8(std::mem::replace(read, rest)).ok();
        }
        more(stream, read).await?;
    }
}

async fn exactly(stream: &mut TcpStream, read: &mut Vec<u8>, length: usize) -> Option<Vec<u8>> {
    while read.len() < length {
        more(stream, read).await?;
    }
    let rest = read.split_off(length);
    Some(std::mem::replace(read, rest))
}
