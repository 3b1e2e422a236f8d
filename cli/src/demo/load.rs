//! A small HTTP client that counts: so many clients, half of them with one connection for all their requests, half
//! with one for each, until told to stop.
//!
//! A request fails when no complete answer with status 200 comes back; nothing is tried twice.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two requests of one client: the load is there to find dropped requests, not to take the machine's cores.
const PAUSE: Duration = Duration::from_millis(2);
/// Every load loop ends, whoever forgets to stop it.
const REQUESTS_MAX: u64 = 1_000_000;
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const FAILURES_SHOWN_MAX: usize = 5;

/// What a run of the load has seen.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub failed: u64,
    /// The first few failures, in words.
    pub failures: Vec<String>,
    /// When the last of the requests that failed had begun.
    pub failed_last: Option<Instant>,
    /// Answers by body: the demo app says which version answered, and where.
    pub answers: BTreeMap<String, u64>,
    pub slowest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// One for all requests of a client.
    Kept,
    /// One for each request.
    OneEach,
}

/// Sends one request after the other; it may rest in between for as long as it likes.
#[derive(Debug)]
pub struct Client {
    target: SocketAddr,
    connections: Connections,
    kept: Option<BufReader<TcpStream>>,
}

impl Client {
    #[must_use]
    pub fn new(target: SocketAddr, connections: Connections) -> Self {
        Self { target, connections, kept: None }
    }

    /// One GET of `/`. A connection that was kept and does not serve any more is a failure, and the next request has
    /// a new one.
    pub async fn get(&mut self) -> anyhow::Result<String> {
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, request(self.target, &mut self.kept, self.connections))
            .await
            .unwrap_or_else(|_elapsed| Err(anyhow::anyhow!("no answer within {REQUEST_TIMEOUT:?}")));
        if answer.is_err() {
            self.kept = None;
        }
        answer
    }
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    stop: AtomicBool,
    sent: AtomicU64,
    tally: Mutex<Tally>,
}

/// A load under way. Dropping it ends the clients.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Load {
    #[must_use]
    pub fn start(target: SocketAddr, clients: usize) -> Self {
        let kinds = [Connections::Kept, Connections::OneEach].into_iter().cycle().take(clients);
        Self::of(target, kinds)
    }

    /// A client of each kind.
    #[must_use]
    pub fn of(target: SocketAddr, kinds: impl IntoIterator<Item = Connections>) -> Self {
        let shared = Arc::new(Shared {
            target,
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            tally: Mutex::new(Tally::default()),
        });
        let mut set = JoinSet::new();
        for connections in kinds {
            set.spawn(client(Arc::clone(&shared), connections));
        }
        Self { shared, clients: set }
    }

    /// What was seen so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.shared.tally.lock().expect("no client panics with the tally").clone()
    }

    /// Lets every request under way end, then tells what was seen.
    pub async fn finish(mut self) -> Tally {
        self.shared.stop.store(true, Ordering::SeqCst);
        while self.clients.join_next().await.is_some() {}
        self.tally()
    }
}

async fn client(shared: Arc<Shared>, connections: Connections) {
    let mut client = Client::new(shared.target, connections);
    while !shared.stop.load(Ordering::SeqCst) && shared.sent.fetch_add(1, Ordering::SeqCst) < REQUESTS_MAX {
        let began = Instant::now();
        let answer = client.get().await;
        shared.tally.lock().expect("no client panics with the tally").count(answer, began);
        tokio::time::sleep(PAUSE).await;
    }
}

impl Tally {
    /// What another load has seen, too.
    pub fn add(&mut self, other: Tally) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.truncate(FAILURES_SHOWN_MAX);
        self.failed_last = self.failed_last.max(other.failed_last);
        for (body, count) in other.answers {
            *self.answers.entry(body).or_default() += count;
        }
        self.slowest = self.slowest.max(other.slowest);
    }

    fn count(&mut self, answer: anyhow::Result<String>, began: Instant) {
        self.requests += 1;
        self.slowest = self.slowest.max(began.elapsed());
        match answer {
            Ok(body) => *self.answers.entry(body).or_default() += 1,
            Err(error) => {
                self.failed += 1;
                self.failed_last = self.failed_last.max(Some(began));
                if self.failures.len() < FAILURES_SHOWN_MAX {
                    self.failures.push(format!("{error:#}"));
                }
            }
        }
    }
}

/// One GET of `/`.
pub async fn get(target: SocketAddr) -> anyhow::Result<String> {
    Client::new(target, Connections::OneEach).get().await
}

async fn request(
    target: SocketAddr,
    kept: &mut Option<BufReader<TcpStream>>,
    connections: Connections,
) -> anyhow::Result<String> {
    let mut stream = match kept.take() {
        Some(stream) => stream,
        None => BufReader::new(TcpStream::connect(target).await.context("cannot connect")?),
    };
    let ask = match connections {
        Connections::Kept => "keep-alive",
        Connections::OneEach => "close",
    };
    let head = format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: {ask}\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes()).await.context("cannot send the request")?;
    let (body, stays_open) = read_answer(&mut stream).await?;
    if connections == Connections::Kept && stays_open {
        *kept = Some(stream);
    }
    Ok(body)
}

/// The body, and whether the server keeps the connection.
async fn read_answer(stream: &mut BufReader<TcpStream>) -> anyhow::Result<(String, bool)> {
    let mut line = String::new();
    let (mut length, mut stays_open) = (0, true);
    if stream.read_line(&mut line).await.context("the connection broke")? == 0 {
        bail!("the connection was closed without an answer");
    }
    if line.split(' ').nth(1) != Some("200") {
        bail!("answered {:?}", line.trim_end());
    }
    loop {
        line.clear();
        if stream.read_line(&mut line).await.context("the connection broke in the head of the answer")? == 0 {
            bail!("the connection was closed in the head of the answer");
        }
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        } else if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().context("the answer's length is no number")?;
        } else if header == "connection: close" {
            stays_open = false;
        }
    }
    if length > ANSWER_BYTES_MAX {
        bail!("the answer is said to have {length} bytes");
    }
    let mut body = Vec::new();
    if stream.take(length).read_to_end(&mut body).await.context("the connection broke in the answer")? as u64 != length
    {
        bail!("the answer was cut short");
    }
    Ok((String::from_utf8_lossy(&body).trim_end().to_owned(), stays_open))
}
