//! From "a client waits" to an open connection to a backend. Called by the relay, for a new client and whenever a
//! client's next request needs another backend.

use std::{io, time::Duration};

use muster_proto::id::TaskId;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Shared,
    rotation::{Choice, Lease, Pick},
};

/// A backend on this host answers within microseconds. The first repeat of a lost SYN comes after one second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a client is kept waiting while no backend takes connections: long enough for a replacement to become
/// ready, short enough to be an answer.
const HOLD_MAX: Duration = Duration::from_secs(5);

/// The same when there are backends and none of them can be reached: then something is wrong, and only a change of
/// the list can help.
const HOLD_UNREACHABLE_MAX: Duration = Duration::from_secs(1);

/// Backends tried for one client before it waits for the list to change.
const ATTEMPTS_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) stream: TcpStream,
    pub(super) lease: Lease,
}

/// A connection to some backend of `port`; None when there is none to be had, and the client must go.
pub(super) async fn upstream(shared: &Shared, port: u16) -> Option<Upstream> {
    let begin = Instant::now();
    let mut changed = shared.changed.subscribe();
    loop {
        changed.mark_unchanged();
        let hold = match round(shared, port).await {
            Round::Connected(upstream) => return Some(upstream),
            Round::NoRoute => return None,
            Round::NoBackend => HOLD_MAX,
            Round::Unreachable => HOLD_UNREACHABLE_MAX,
        };
        match timeout_at(begin + hold, changed.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}

enum Round {
    Connected(Upstream),
    NoRoute,
    NoBackend,
    Unreachable,
}

/// Asks each backend at most once.
async fn round(shared: &Shared, port: u16) -> Round {
    let mut tried: Vec<TaskId> = Vec::new();
    while tried.len() < ATTEMPTS_MAX {
        let choice = match shared.rotation().pick(port, &tried, Instant::now()) {
            Pick::Backend(choice) => choice,
            Pick::NoRoute => return Round::NoRoute,
            Pick::NoBackend if tried.is_empty() => return Round::NoBackend,
            Pick::NoBackend => return Round::Unreachable,
        };
        match dial(&choice).await {
            Ok(stream) => return Round::Connected(Upstream { stream, lease: choice.lease }),
            Err(error) => {
                let id = choice.backend.task_id;
                tracing::debug!(task = %id, address = %choice.address(), %error, "backend not reached, trying another");
                shared.rotation().failed(id, Instant::now());
                tried.push(id);
            }
        }
    }
    Round::Unreachable
}

/// The one place that knows how a backend is reached.
async fn dial(choice: &Choice) -> io::Result<TcpStream> {
    let address = choice.address();
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_keepalive(true)?;
    let stream = timeout(CONNECT_TIMEOUT, socket.connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
