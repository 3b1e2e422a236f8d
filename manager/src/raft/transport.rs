//! How managers' Raft messages travel: the seam between [`super::network`], which sends, and [`super::inbox`], which
//! receives. Implemented over gRPC for the daemon, and by the simulation; what a message holds is decided by
//! [`super::wire`] and of no concern here.
//!
//! A transport may lose, delay and repeat; it must not change. Dropping a future gives the message up.

use std::{
    collections::BTreeSet,
    fmt::{self, Debug},
};

use futures_util::future::{BoxFuture, ready};
use muster_proto::{id::NodeId, v1};

use crate::raft::Peer;
pub use crate::snapshots::travel::Chunks;

/// A whole message: the most entries that fit, and what goes around them. More is refused by both ends.
pub const MESSAGE_BYTES_MAX: usize = 6 << 20;

/// Longer ones must not hold up those that are short: heartbeats and votes.
pub const SHORT_BYTES_MAX: usize = 32 << 10;

/// A member that a message goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub raft_id: u64,
    pub peer: Peer,
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "manager {} ({})", self.raft_id, self.peer)
    }
}

/// What is asked of a member in one message. Snapshots go another way: they are longer than a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Entries, or none: a heartbeat.
    Append,
    Vote,
    /// Stand for election at once: the leader hands over.
    Elect,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There is no connection: not tried again before a pause.
    #[error("{0}")]
    Unreachable(String),
    /// The connection broke while the message was on its way: it may have arrived.
    #[error("{0}")]
    Broken(String),
    /// It arrived, and its receiver wants nothing of it.
    #[error("{0}")]
    Refused(String),
    /// It arrived at a member that follows and has no room for what it holds.
    #[error("the disk of that manager is nearly full")]
    NoRoom,
}

pub trait Transport: Debug + Send + Sync + 'static {
    /// Carries a message to [`super::inbox::Inbox::take`] there, and the answer back.
    fn call<'a>(
        &'a self,
        target: &'a Target,
        call: Call,
        message: Vec<u8>,
    ) -> BoxFuture<'a, Result<Vec<u8>, TransportError>>;

    /// Carries a snapshot to [`super::inbox::Inbox::receive_snapshot`] there: the offer first, then its chunks in
    /// order; then the answer back. Gives up when nothing moves for long, never because the whole takes long.
    fn snapshot<'a>(
        &'a self,
        target: &'a Target,
        offer: Vec<u8>,
        chunks: Chunks,
    ) -> BoxFuture<'a, Result<Vec<u8>, TransportError>>;

    /// Tells a node, which may be no manager, where the managers are. Where there are managers alone, nobody is told.
    fn tell<'a>(&'a self, peer: &'a Peer, _word: v1::TellRequest) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(ready(Err(TransportError::Unreachable(format!("no connection to {peer}")))))
    }

    /// Only these nodes are called from now on: connections to others may close.
    fn keep(&self, _nodes: &BTreeSet<NodeId>) {}
}
