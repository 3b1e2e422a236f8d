//! From "a client waits" to an open connection to a backend. Called by the relay, for a new client and whenever a
//! client's next request needs another backend.
//!
//! A backend of this node is dialled straight; one of another node through that node's agent ([`super::hop`]), which
//! may say that the task is about to go. Nothing was sent then, so another one is tried.

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use futures_util::FutureExt;
use tokio::{
    io::Interest,
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    Shared,
    hop::{self, Answer, Header},
    rotation::{Choice, Lease, Pick, Tried, Way},
};
use crate::dial::Stream;

/// A backend on this host answers within microseconds. The first repeat of a lost SYN comes after one second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// For another node to take a connection. It allows for one lost SYN, and no more: there may be other nodes.
const NODE_CONNECT_TIMEOUT: Duration = Duration::from_millis(1_300);

/// For that node to answer whether the task takes it, which includes its own connection to the task.
const NODE_ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a client is kept waiting while no backend takes connections: long enough for a replacement to become
/// ready after a node has died, which takes up to 7 s and the container's own start, or an agent to be started again;
/// short enough to be an answer.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(15);

/// The same when there are backends here and none of them can be reached: then something is wrong, and only a change
/// of the list can help.
const HOLD_UNREACHABLE_MAX: Duration = Duration::from_secs(1);

/// The same for a client that has ended its half: nearly always one that has given up, and seldom one that has said all
/// and waits for the answer.
const HOLD_ENDED_MAX: Duration = Duration::from_secs(1);

/// Between two looks whether a client that waits has ended its half.
const END_LOOK: Duration = Duration::from_millis(500);

/// Between two looks for a node that was away.
const RETRY: Duration = Duration::from_millis(250);

/// Backends tried for one client before it waits for the list to change.
const ATTEMPTS_MAX: usize = 8;

pub(super) struct Upstream {
    pub(super) stream: Stream,
    pub(super) lease: Lease,
}

/// A connection to some backend of `port`; None when there is none to be had, and the client must go.
pub(super) async fn upstream(shared: &Shared, port: u16, client: &TcpStream) -> Option<Upstream> {
    let begin = Instant::now();
    let mut changed = shared.changed.subscribe();
    let mut given_up = pin!(given_up(client));
    let mut place = None;
    loop {
        changed.mark_unchanged();
        let (hold, retry) = match round(shared, port).await {
            Round::Connected(upstream) => return Some(upstream),
            Round::NoRoute => return None,
            Round::InVain(Found::NoBackend) => (HOLD_MAX, HOLD_MAX),
            Round::InVain(Found::Leaving | Found::NodeAway) => (HOLD_MAX, RETRY),
            Round::InVain(Found::Unreachable) => (HOLD_UNREACHABLE_MAX, HOLD_UNREACHABLE_MAX),
        };
        if place.is_none() {
            place = Some(shared.waiting_slots.try_acquire().ok()?);
        }
        let wait = async {
            tokio::select! {
                changed = changed.changed() => changed.is_ok(),
                () = sleep(retry) => true,
                () = &mut given_up => false,
            }
        };
        match timeout_at(begin + hold, wait).await {
            Ok(true) => {}
            Ok(false) | Err(_) => return None,
        }
    }
}

/// Returns when a client that has ended its half has waited long enough. What it sent and nobody has read hides the end
/// from a read, and not from the socket's readiness.
async fn given_up(client: &TcpStream) {
    while !matches!(client.ready(Interest::READABLE).now_or_never(), Some(Ok(ready)) if ready.is_read_closed()) {
        sleep(END_LOOK).await;
    }
    sleep(HOLD_ENDED_MAX).await;
}

enum Round {
    Connected(Upstream),
    NoRoute,
    InVain(Found),
}

/// What there was instead of a connection. What gives the most hope counts, and is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// None is listed that takes connections; the list is about to change.
    NoBackend,
    Unreachable,
    /// A node knows no such task: it is gone there, or that node's agent was just started and has not found it yet.
    Leaving,
    /// A node does not answer.
    NodeAway,
}

/// Why a backend was not reached.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it takes no connection: {0}")]
    Task(io::Error),
    #[error("its node does not answer: {0}")]
    Node(io::Error),
    /// This node's list is behind.
    #[error("it is about to go, or gone")]
    Leaving,
}

/// Asks each backend at most once, and of a node that does not answer no more than one.
async fn round(shared: &Shared, port: u16) -> Round {
    let mut tried = Tried::default();
    let mut found = Found::NoBackend;
    while tried.tasks.len() < ATTEMPTS_MAX {
        let choice = match shared.rotation().pick(port, &tried, Instant::now()) {
            Pick::Backend(choice) => choice,
            Pick::NoRoute => return Round::NoRoute,
            Pick::NoBackend => return Round::InVain(found),
        };
        let (task, node) = (choice.task_id, choice.way.node());
        let failure = match reach(shared, &choice).await {
            Ok(stream) => {
                shared.rotation().reached(task, node);
                return Round::Connected(Upstream { stream, lease: choice.lease });
            }
            Err(failure) => failure,
        };
        tracing::debug!(%task, way = ?choice.way, reason = %failure, "backend not reached, trying another");
        tried.tasks.push(task);
        let mut rotation = shared.rotation();
        match (failure, node) {
            (Failure::Node(_), Some(node)) => {
                rotation.node_failed(node, Instant::now());
                tried.nodes.push(node);
                found = found.max(Found::NodeAway);
            }
            (Failure::Task(_) | Failure::Node(_), _) => {
                rotation.failed(task, Instant::now());
                found = found.max(Found::Unreachable);
            }
            (Failure::Leaving, _) => {
                rotation.failed(task, Instant::now());
                found = found.max(Found::Leaving);
            }
        }
    }
    Round::InVain(found)
}

async fn reach(shared: &Shared, choice: &Choice) -> Result<Stream, Failure> {
    match &choice.way {
        Way::Here(address) => container(*address).await.map(|stream| Box::new(stream) as Stream).map_err(Failure::Task),
        Way::Through { node, address, target } => {
            let late = |_elapsed| Failure::Node(io::ErrorKind::TimedOut.into());
            let dialled = shared.dial.node(*node, address);
            let mut stream = timeout(NODE_CONNECT_TIMEOUT, dialled).await.map_err(late)?.map_err(Failure::Node)?;
            let header = Header { task_id: choice.task_id, target: *target };
            let asked = timeout(NODE_ANSWER_TIMEOUT, hop::ask(&mut stream, header));
            match asked.await.map_err(late)?.map_err(Failure::Node)? {
                Answer::Connected => Ok(stream),
                Answer::NotHere => Err(Failure::Leaving),
                Answer::Unreachable => Err(Failure::Task(io::Error::other("its node cannot reach it"))),
                Answer::Full => Err(Failure::Node(io::Error::other("it takes no more connections"))),
                Answer::OtherVersion => Err(Failure::Node(io::Error::other("it runs another version of muster"))),
            }
        }
    }
}

/// A task of this node.
pub(super) async fn container(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_keepalive(true)?;
    let stream = timeout(CONNECT_TIMEOUT, socket.connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
