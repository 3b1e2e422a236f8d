//! Raft messages over gRPC: the [`Transport`] of the daemon. What receives them is [`super::service`].
//!
//! Each node that is called has one connection for what is short and one for what is not, kept open, and each snapshot one of its own,
//! so that heartbeats queue behind nothing that is long.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{Stream, future::BoxFuture, stream};
use muster_proto::{
    id::NodeId,
    v1::{self, raft_client::RaftClient, snapshot_piece::Piece, whereabouts_client::WhereaboutsClient},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    connect::{self, Connect, LONG_PING_MAX, SHORT_PING_MAX},
    raft::{
        Peer,
        transport::{Call, Chunks, MESSAGE_BYTES_MAX, SHORT_BYTES_MAX, Target, Transport, TransportError},
    },
};

/// What gRPC puts around a message.
pub(super) const OVERHEAD_BYTES: usize = 1 << 10;
/// A connection whose calls all went unanswered for this long is replaced: after a cut, TCP would wait for seconds
/// before it tries again.
const SILENCE_MAX: Duration = Duration::from_millis(600);
/// From one piece of a snapshot to the next.
const PIECE_MAX: Duration = Duration::from_secs(10);
/// From the last piece to the answer: the other end checks, reads and writes all of it.
const INSTALL_MAX: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub struct Grpc {
    connect: Arc<dyn Connect>,
    links: Mutex<BTreeMap<(NodeId, Width), Link>>,
}

/// Of the messages that a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    Short,
    Long,
}

impl Width {
    fn of(message: &[u8]) -> Self {
        if message.len() > SHORT_BYTES_MAX { Self::Long } else { Self::Short }
    }
}

#[derive(Clone, Debug)]
struct Link {
    address: String,
    channel: Channel,
    /// When it was made, or something came back on it.
    heard: Arc<Mutex<Instant>>,
}

impl Link {
    fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn silent_for(&self) -> Duration {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// A call under way. Dropped before its answer, it tells of a connection that may be dead.
struct Unanswered<'a> {
    grpc: &'a Grpc,
    target: &'a Target,
    width: Width,
    link: Link,
    answered: AtomicBool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.answered.load(Ordering::Relaxed) {
            self.link.heard();
        } else if self.link.silent_for() > SILENCE_MAX {
            self.grpc.replace((&self.target.peer, self.width), &self.link);
        }
    }
}

impl Grpc {
    #[must_use]
    pub fn new(connect: Arc<dyn Connect>) -> Self {
        Self { connect, links: Mutex::default() }
    }

    fn link(&self, peer: &Peer, width: Width) -> Link {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        match links.get(&(peer.node_id, width)) {
            Some(link) if link.address == peer.address => link.clone(),
            Some(_) | None => {
                let link = self.new_link(peer, width);
                links.insert((peer.node_id, width), link.clone());
                link
            }
        }
    }

    fn new_link(&self, peer: &Peer, width: Width) -> Link {
        let ping_max = match width {
            Width::Short => SHORT_PING_MAX,
            Width::Long => LONG_PING_MAX,
        };
        let channel = connect::channel(&self.connect, peer, ping_max);
        Link { address: peer.address.clone(), channel, heard: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Unless somebody else was faster.
    fn replace(&self, (peer, width): (&Peer, Width), dead: &Link) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links.get(&(peer.node_id, width)).is_some_and(|link| Arc::ptr_eq(&link.heard, &dead.heard)) {
            links.insert((peer.node_id, width), self.new_link(peer, width));
        }
    }

    async fn send(&self, target: &Target, call: Call, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let width = Width::of(&message);
        let link = self.link(&target.peer, width);
        let mut client = client(link.channel.clone());
        let under_way = Unanswered { grpc: self, target, width, link, answered: AtomicBool::new(false) };
        let request = v1::RaftRequest { body: message };
        let answer = match call {
            Call::Append => client.append(request).await,
            Call::Vote => client.vote(request).await,
            Call::Elect => client.elect(request).await,
        };
        let answer = answer.map(|answer| answer.into_inner().body).map_err(|status| refused(&status));
        let came_back = match &answer {
            Ok(_) | Err(TransportError::Refused(_) | TransportError::NoRoom) => true,
            Err(TransportError::Unreachable(_) | TransportError::Broken(_)) => false,
        };
        under_way.answered.store(came_back, Ordering::Relaxed);
        answer
    }

    async fn send_snapshot(&self, target: &Target, offer: Vec<u8>, chunks: Chunks) -> Result<Vec<u8>, TransportError> {
        let mut client = client(connect::channel(&self.connect, &target.peer, LONG_PING_MAX));
        let (moved, mut progress) = watch::channel(Progress::Moving(Instant::now()));
        let sent = client.install_snapshot(pieces(offer, chunks, moved));
        tokio::select! {
            answer = sent => answer.map(|answer| answer.into_inner().body).map_err(|status| refused(&status)),
            why = stalled(&mut progress) => Err(TransportError::Broken(why)),
        }
    }
}

fn client(channel: Channel) -> RaftClient<Channel> {
    RaftClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX + OVERHEAD_BYTES)
        .max_encoding_message_size(MESSAGE_BYTES_MAX + OVERHEAD_BYTES)
}

impl Transport for Grpc {
    fn call<'a>(
        &'a self,
        target: &'a Target,
        call: Call,
        message: Vec<u8>,
    ) -> BoxFuture<'a, Result<Vec<u8>, TransportError>> {
        Box::pin(self.send(target, call, message))
    }

    fn snapshot<'a>(
        &'a self,
        target: &'a Target,
        offer: Vec<u8>,
        chunks: Chunks,
    ) -> BoxFuture<'a, Result<Vec<u8>, TransportError>> {
        Box::pin(self.send_snapshot(target, offer, chunks))
    }

    fn tell<'a>(&'a self, peer: &'a Peer, word: v1::TellRequest) -> BoxFuture<'a, Result<(), TransportError>> {
        let mut client = WhereaboutsClient::new(self.link(peer, Width::Short).channel);
        Box::pin(async move {
            let told = client.tell(word).await;
            told.map(|_told| ()).map_err(|status| refused(&status))
        })
    }

    fn keep(&self, nodes: &BTreeSet<NodeId>) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(node, _), _| nodes.contains(node));
    }
}

/// What a status says of the connection: one that was made up here, for want of one, has a source.
fn refused(status: &Status) -> TransportError {
    let cause = status.source().map(deepest);
    match (status.code(), cause) {
        (Code::Unavailable, Some(cause)) => TransportError::Unreachable(cause),
        (_, Some(cause)) => TransportError::Broken(cause),
        // It is there and no manager, or not any more.
        (Code::Unavailable | Code::Unimplemented, None) => TransportError::Unreachable(status.message().to_owned()),
        (_, None) => TransportError::Refused(status.message().to_owned()),
    }
}

fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

#[derive(Clone, Debug)]
enum Progress {
    Moving(Instant),
    /// All pieces are on their way.
    Sent(Instant),
    Unreadable(String),
}

/// The next piece is read when the connection has room for it. One that cannot be read ends nothing: what looked like
/// the end would be taken for a whole snapshot.
fn pieces(
    offer: Vec<u8>,
    chunks: Chunks,
    moved: watch::Sender<Progress>,
) -> impl Stream<Item = v1::SnapshotPiece> + Send {
    let first = stream::iter([v1::SnapshotPiece { piece: Some(Piece::Offer(offer)) }]);
    let rest = stream::unfold((chunks, moved), |(mut chunks, moved)| async move {
        let next = chunks.next().await;
        let progress = match &next {
            Ok(Some(_)) => Progress::Moving(Instant::now()),
            Ok(None) => Progress::Sent(Instant::now()),
            Err(why) => Progress::Unreadable(why.to_string()),
        };
        moved.send_replace(progress);
        match next {
            Ok(Some(chunk)) => Some((v1::SnapshotPiece { piece: Some(Piece::Chunk(chunk)) }, (chunks, moved))),
            Ok(None) => None,
            Err(_) => std::future::pending().await,
        }
    });
    futures_util::StreamExt::chain(first, rest)
}

/// Returns when nothing has moved for too long.
async fn stalled(progress: &mut watch::Receiver<Progress>) -> String {
    loop {
        let (until, why) = match &*progress.borrow_and_update() {
            Progress::Moving(at) => (*at + PIECE_MAX, "it took no piece of the snapshot for too long"),
            Progress::Sent(at) => (*at + INSTALL_MAX, "it did not confirm the snapshot in time"),
            Progress::Unreadable(why) => return format!("the snapshot cannot be read: {why}"),
        };
        // The sender goes with the last piece.
        let changed = async {
            if progress.changed().await.is_err() {
                sleep_until(until).await;
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        if timeout(left, changed).await.is_err() {
            return why.to_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Nobody;

    impl Connect for Nobody {
        fn connect(&self, _peer: &Peer) -> BoxFuture<'static, io::Result<connect::Stream>> {
            Box::pin(std::future::pending())
        }
    }

    fn node(number: u128) -> Target {
        let address = format!("10.0.0.{number}:7377");
        Target { raft_id: 0, peer: Peer { node_id: NodeId::from_bits(number), address } }
    }

    #[tokio::test]
    async fn each_node_has_a_connection_of_its_own_for_as_long_as_it_is_called() {
        let grpc = Grpc::new(Arc::new(Nobody));
        let link = |number| grpc.link(&node(number).peer, Width::Short);
        let is_same = |one: &Link, other: &Link| Arc::ptr_eq(&one.heard, &other.heard);
        let (first, second) = (link(1), link(2));
        assert!(is_same(&first, &link(1)) && is_same(&second, &link(2)), "nodes without a Raft id share nothing");
        grpc.keep(&BTreeSet::from([node(1).peer.node_id]));
        assert_eq!(grpc.links.lock().unwrap().len(), 1);
        assert!(is_same(&first, &link(1)) && !is_same(&second, &link(2)));
        let mut moved = node(1);
        moved.peer.address = "10.0.0.9:7377".to_owned();
        assert!(!is_same(&first, &grpc.link(&moved.peer, Width::Short)));
    }
}
