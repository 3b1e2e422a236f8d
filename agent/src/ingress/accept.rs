//! The far end of a hop: a connection that another node's ingress took for a task of this one.
//!
//! The node that asks may be behind with the managers' list. So a task on its way out is refused before a byte is
//! passed, and whoever asked tries another; what was let in before counts as a connection of the task, and its drain
//! waits for it. Bytes are not looked at here: it is the near end that moves a client between two requests.

use std::time::Duration;

use muster_proto::id::NodeId;
use tokio::{
    io::copy_bidirectional,
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tracing::debug;

use super::{
    Shared, dial,
    hop::{self, Answer, Header},
    rotation::{Admission, Lease},
};
use crate::dial::Stream;

/// From the connection to a whole header.
const HEADER_MAX: Duration = Duration::from_secs(5);
/// For an answer to be taken.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a connection waits for this node to hear of the task it is for: the other may have been told first, or this
/// agent was just started. Well within what the other waits for its answer.
const UNKNOWN_MAX: Duration = Duration::from_millis(500);

/// After its start, an agent may have tasks that it has not found yet.
const FINDING_MAX: Duration = Duration::from_secs(15);

pub(super) async fn serve(peer: NodeId, mut stream: Stream, shared: &Shared) {
    let heard = match timeout(HEADER_MAX, hop::hear(&mut stream)).await {
        Ok(Ok(heard)) => heard,
        Ok(Err(error)) => return debug!(%peer, %error, "a node's connection ended before it said what for"),
        Err(_elapsed) => return debug!(%peer, "a node's connection did not say in time what for"),
    };
    let connected = match heard {
        Some(header) => connect(header, shared).await,
        None => Err(Answer::OtherVersion),
    };
    match connected {
        Ok((mut container, lease)) => {
            if say(&mut stream, Answer::Connected).await {
                relay(&mut stream, &mut container).await;
            }
            drop(lease);
        }
        Err(refusal) => {
            debug!(%peer, ?heard, ?refusal, "a node's connection is refused");
            say(&mut stream, refusal).await;
        }
    }
}

/// Refused, for want of room.
pub(super) async fn refuse(mut stream: Stream) {
    say(&mut stream, Answer::Full).await;
}

async fn say(stream: &mut Stream, answer: Answer) -> bool {
    matches!(timeout(ANSWER_MAX, hop::answer(stream, answer)).await, Ok(Ok(())))
}

async fn connect(header: Header, shared: &Shared) -> Result<(TcpStream, Lease), Answer> {
    let deadline = Instant::now() + UNKNOWN_MAX;
    let mut changed = shared.changed.subscribe();
    let (address, lease) = loop {
        changed.mark_unchanged();
        let admission = shared.rotation().admit(header.task_id, header.target);
        match admission {
            Admission::Granted { address, lease } => break (address, lease),
            Admission::Refused => return Err(Answer::NotHere),
            Admission::NoSuchTask if shared.begun.elapsed() > FINDING_MAX => return Err(Answer::NotHere),
            Admission::NoSuchTask | Admission::NotPublished => match timeout_at(deadline, changed.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(Answer::NotHere),
            },
        }
    };
    match dial::container(address).await {
        Ok(container) => Ok((container, lease)),
        Err(error) => {
            debug!(%address, %error, "a task does not take a connection from another node");
            Err(Answer::Unreachable)
        }
    }
}

/// Until both directions have ended, or one broke: then both streams are dropped as they are, which the other end sees
/// as a break and not as an end.
async fn relay(stream: &mut Stream, container: &mut TcpStream) {
    if let Err(error) = copy_bidirectional(stream, container).await {
        debug!(%error, "a relayed connection broke off");
    }
}
