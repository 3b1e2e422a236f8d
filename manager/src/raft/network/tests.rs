//! Entries that take long, over a line that answers when a test says so; and words that nobody answers for.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Mutex, RwLock},
};

use futures_util::{FutureExt, future::BoxFuture};
use muster_core::state::State;
use muster_proto::id::{ClusterId, NodeId};
use openraft::{CommittedLeaderId, EntryPayload};
use tokio::{
    sync::watch,
    time::{sleep, timeout_at},
};

use super::*;
use crate::{changes::Publisher, raft::standing::Refusal, replica::Shared, snapshots::Chunks, storage::disk::HostDisk};

/// Of the paused clock: what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// To a member that follows.
#[derive(Debug)]
struct Line {
    began: Instant,
    /// Of each two seconds heartbeats are answered after so long.
    mute: Duration,
    /// How long what holds entries takes, one after another. None: it is never answered.
    loads: Mutex<VecDeque<Option<Duration>>>,
    /// Where each message with entries begins and how many they are, and those without that say where they begin.
    sent: Mutex<Vec<(Option<u64>, usize)>>,
}

impl Line {
    fn new(mute: Duration, loads: impl IntoIterator<Item = Option<Duration>>) -> Arc<Self> {
        let (loads, sent) = (Mutex::new(loads.into_iter().collect()), Mutex::default());
        Arc::new(Self { began: Instant::now(), mute, loads, sent })
    }

    fn sent(&self) -> Vec<(Option<u64>, usize)> {
        self.sent.lock().unwrap().clone()
    }
}

impl Transport for Line {
    fn call<'a>(&'a self, _: &'a Target, _: Call, message: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, TransportError>> {
        let Append { prev_log_id, entries, .. } = wire::decode_append(&message).unwrap().body;
        if prev_log_id.is_some() || !entries.is_empty() {
            self.sent.lock().unwrap().push((prev_log_id.map(|id| id.index), entries.len()));
        }
        async move {
            if entries.is_empty() {
                let into_two_s =
                    Duration::from_millis(u64::try_from(self.began.elapsed().as_millis() % 2_000).unwrap());
                if prev_log_id.is_none() && into_two_s < self.mute {
                    pending::<()>().await;
                }
            } else {
                let took = self.loads.lock().unwrap().pop_front().expect("no more is sent than the test says");
                sleep(took.unwrap_or(Duration::MAX)).await;
            }
            Ok(wire::encode(&Reply::Given(Appended::Success)).unwrap())
        }
        .boxed()
    }

    fn snapshot<'a>(&'a self, _: &'a Target, _: Vec<u8>, _: Chunks) -> BoxFuture<'a, Result<Vec<u8>, TransportError>> {
        unreachable!("no snapshot is sent")
    }
}

/// Of a manager without a state, in a folder that is gone with what is returned beside it.
fn network(transport: Arc<dyn Transport>) -> (Network, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (state, applied, changes) = (RwLock::new(State::default()), watch::Sender::new(0), Publisher::default());
    let network = Network {
        standing: Standing::new(ClusterId::from_bits(1), 1, Arc::new(Shared { state, applied, changes })),
        transport,
        snapshots: Arc::new(Snapshots::open(Arc::new(HostDisk), folder.path().to_owned(), None).unwrap()),
        contact: Contact::new(),
        invited: Invited::default(),
    };
    (network, folder)
}

fn peer() -> Peer {
    Peer { node_id: NodeId::from_bits(2), address: String::new() }
}

async fn link(line: &Arc<Line>) -> (Link, tempfile::TempDir) {
    let (mut network, folder) = network(line.clone());
    (network.new_client(2, &peer()).await, folder)
}

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

/// Entries from 4 on.
fn append(entries: u64) -> Append {
    let entries = (4..4 + entries).map(|index| openraft::Entry { log_id: log_id(index), payload: EntryPayload::Blank });
    let vote = Vote::new_committed(1, 1);
    Append { vote, prev_log_id: Some(log_id(3)), entries: entries.collect(), leader_commit: None }
}

async fn sent(link: &mut Link, request: Append) -> Result<Appended, RpcError> {
    let answer = link.append_entries(request, RPCOption::new(HEARTBEAT));
    timeout(PATIENCE, answer).await.expect("it hangs on a line that is there")
}

#[tokio::test(start_paused = true)]
async fn entries_that_a_cut_has_swallowed_are_sent_again_and_then_left_alone() {
    let slow = Duration::from_secs(6);
    let line = Line::new(Duration::from_millis(1_500), [None, Some(slow)]);
    let (mut link, _folder) = link(&line).await;
    let broken = sent(&mut link, append(1)).await;
    assert!(matches!(broken, Err(RPCError::Network(_))), "{broken:?}");
    assert!(line.began.elapsed() < Duration::from_secs(2));
    // As late as behind a cut come the heartbeats beside what fills the line.
    let again = Instant::now();
    assert_eq!(sent(&mut link, append(1)).await.ok(), Some(Appended::Success));
    assert_eq!(again.elapsed(), slow);
    assert_eq!(line.sent(), [(Some(3), 1), (Some(3), 1)]);
}

#[tokio::test(start_paused = true)]
async fn what_openraft_has_given_up_on_goes_on_and_its_answer_is_confirmed() {
    let line = Line::new(Duration::ZERO, [Some(5 * HEARTBEAT / 2)]);
    let (mut link, _folder) = link(&line).await;
    for attempt in 1..=2 {
        let given_up = Instant::now() + HEARTBEAT;
        let answer = link.append_entries(append(1), RPCOption::new(HEARTBEAT));
        assert!(timeout_at(given_up, answer).await.is_err(), "attempt {attempt}");
    }
    let answer = sent(&mut link, append(2)).await.ok();
    assert_eq!(answer, Some(Appended::PartialSuccess(Some(log_id(4)))));
    assert_eq!(line.sent(), [(Some(3), 1), (Some(4), 0)], "the entry once, and the question whether it is there now");
}

/// Whatever is asked.
#[derive(Debug)]
struct Refuses(Refusal);

impl Transport for Refuses {
    fn call<'a>(&'a self, _: &'a Target, _: Call, _: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, TransportError>> {
        async { Ok(wire::encode(&Reply::<()>::Refused(self.0)).unwrap()) }.boxed()
    }

    fn snapshot<'a>(&'a self, _: &'a Target, _: Vec<u8>, _: Chunks) -> BoxFuture<'a, Result<Vec<u8>, TransportError>> {
        unreachable!("no snapshot is sent")
    }
}

#[tokio::test]
async fn no_node_that_is_told_of_the_incarnation_dismisses_this_manager() {
    for refusal in [Refusal::Retired(1), Refusal::Superseded { old: 0, now: u64::MAX }] {
        let (network, _folder) = network(Arc::new(Refuses(refusal)));
        network.tell(peer()).await;
        assert_eq!(*network.standing.dismissed().borrow(), None, "{refusal}");
    }
}
