//! The backend's side of a relayed connection, and what can be sent again should it turn out to be dead.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::{
    dial::Stream,
    ingress::{dial::Upstream, rotation::Lease},
};

/// Requests up to this size can be sent again. Those worth it, without a body, are far smaller.
const REPLAY_BYTES_MAX: usize = 16 * 1024;

pub(super) struct Backend {
    pub(super) stream: Stream,
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
    unpublished: Pin<Box<WaitForCancellationFutureOwned>>,
    _lease: Lease,
    /// It has answered something: from now on it may close between requests, as servers do when idle.
    has_answered: bool,
    /// The request in flight, while it may be needed again.
    replay: Option<Vec<u8>>,
    /// The last write failed. What it sent before may still be read.
    pub(super) is_broken: bool,
}

impl Backend {
    pub(super) fn new(upstream: Upstream) -> Self {
        let Upstream { stream, lease } = upstream;
        let leaving = Box::pin(lease.leaving.clone().cancelled_owned());
        let unpublished = Box::pin(lease.unpublished.clone().cancelled_owned());
        Self { stream, leaving, unpublished, _lease: lease, has_answered: false, replay: None, is_broken: false }
    }

    /// Whether it left rotation, or its port did; wakes the task when that happens.
    pub(super) fn poll_leaving(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.leaving.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.unpublished.as_mut().poll(cx),
        }
    }

    /// Only a connection that was used before can have died of idleness; a backend that closes a new one unanswered
    /// might be made to fall by this very request.
    pub(super) fn begin_request(&mut self) {
        self.replay = self.has_answered.then(Vec::new);
    }

    pub(super) fn sends(&mut self, bytes: &[u8]) {
        match &mut self.replay {
            Some(kept) if kept.len() + bytes.len() <= REPLAY_BYTES_MAX => kept.extend_from_slice(bytes),
            Some(_) | None => self.replay = None,
        }
    }

    pub(super) fn answers(&mut self) {
        self.has_answered = true;
        self.replay = None;
    }

    /// The request in flight from its first byte, where it was kept whole.
    pub(super) fn into_replay(self) -> Option<Vec<u8>> {
        self.replay
    }

    pub(super) fn has_replay(&self) -> bool {
        self.replay.is_some()
    }
}
