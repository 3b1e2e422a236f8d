//! Which nodes have a session here: one each, the newest. Also the way in for log requests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use muster_proto::id::NodeId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::log_streams::Request;

/// Log requests that a session has not looked at; who asks for more waits.
const LOG_REQUESTS_MAX: usize = 64;

#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    seats: BTreeMap<NodeId, Seat>,
    /// Of seats and log streams.
    numbers_given: u64,
}

#[derive(Debug)]
struct Seat {
    number: u64,
    replaced: CancellationToken,
    log_requests: mpsc::Sender<Request>,
}

/// A session's place in the table; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seated {
    sessions: Sessions,
    node: NodeId,
    number: u64,
    /// Cancelled once the node has a newer session.
    pub(super) replaced: CancellationToken,
    pub(super) log_requests: mpsc::Receiver<Request>,
}

impl Sessions {
    /// The newest session of a node is the one that counts: an older one is a connection whose end has not been seen.
    pub(super) fn take_seat(&self, node: NodeId) -> Seated {
        let (sender, log_requests) = mpsc::channel(LOG_REQUESTS_MAX);
        let replaced = CancellationToken::new();
        let mut table = self.table();
        let number = table.number();
        let seat = Seat { number, replaced: replaced.clone(), log_requests: sender };
        if let Some(older) = table.seats.insert(node, seat) {
            older.replaced.cancel();
        }
        Seated { sessions: self.clone(), node, number, replaced, log_requests }
    }

    /// Where the node's session hears of logs; None when the node has no session here.
    pub(crate) fn log_requests(&self, node: NodeId) -> Option<mpsc::Sender<Request>> {
        self.table().seats.get(&node).map(|seat| seat.log_requests.clone())
    }

    /// A number that no other log stream of this manager has.
    pub(crate) fn log_stream_number(&self) -> u64 {
        self.table().number()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn number(&mut self) -> u64 {
        self.numbers_given += 1;
        self.numbers_given
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let mut table = self.sessions.table();
        if table.seats.get(&self.node).is_some_and(|seat| seat.number == self.number) {
            table.seats.remove(&self.node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bits(1);

    #[test]
    fn the_newest_session_has_the_seat_and_the_older_ones_end_does_not_take_it() {
        let sessions = Sessions::default();
        let older = sessions.take_seat(NODE);
        let newer = sessions.take_seat(NODE);
        assert!(older.replaced.is_cancelled());
        assert!(!newer.replaced.is_cancelled());
        drop(older);
        assert!(sessions.log_requests(NODE).is_some());
        drop(newer);
        assert!(sessions.log_requests(NODE).is_none());
    }
}
