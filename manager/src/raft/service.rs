//! The gRPC service that other managers call: their messages to [`Inbox`] and its answers back.
//!
//! Deliberately absent: who may call. Whoever serves it lets managers of this cluster in and nobody else.

use std::time::Duration;

use muster_proto::v1::{
    self,
    raft_server::{self, RaftServer},
    snapshot_piece::Piece,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::grpc::OVERHEAD_BYTES;
use crate::{
    ca::{self, PeerIdentity},
    manager::Handle,
    raft::{
        inbox::{Inbox, InboxError},
        transport::{Call, MESSAGE_BYTES_MAX},
    },
};

/// From one piece of a snapshot to the next.
const PIECE_MAX: Duration = Duration::from_secs(10);

impl Handle {
    /// To be served under mutual TLS, to managers only.
    #[must_use]
    pub fn raft(&self) -> RaftServer<Service> {
        RaftServer::new(Service { inbox: self.inbox.clone() })
            .max_decoding_message_size(MESSAGE_BYTES_MAX + OVERHEAD_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES_MAX + OVERHEAD_BYTES)
    }
}

#[derive(Debug)]
pub struct Service {
    inbox: Inbox,
}

type Answer = Result<Response<v1::RaftResponse>, Status>;

impl Service {
    async fn take(&self, call: Call, request: Request<v1::RaftRequest>) -> Answer {
        let sender = sender(&request);
        answer(self.inbox.take(call, &request.into_inner().body, sender).await)
    }
}

#[tonic::async_trait]
impl raft_server::Raft for Service {
    async fn append(&self, request: Request<v1::RaftRequest>) -> Answer {
        self.take(Call::Append, request).await
    }

    async fn vote(&self, request: Request<v1::RaftRequest>) -> Answer {
        self.take(Call::Vote, request).await
    }

    async fn elect(&self, request: Request<v1::RaftRequest>) -> Answer {
        self.take(Call::Elect, request).await
    }

    async fn install_snapshot(&self, request: Request<Streaming<v1::SnapshotPiece>>) -> Answer {
        let sender = sender(&request);
        let mut pieces = request.into_inner();
        let Some(Piece::Offer(offer)) = next(&mut pieces).await? else {
            return Err(Status::invalid_argument("a snapshot begins with its offer"));
        };
        let mut receiving = self.inbox.receive_snapshot(&offer, sender).map_err(|why| refused(&why))?;
        while let Some(piece) = next(&mut pieces).await? {
            match piece {
                Piece::Chunk(chunk) => receiving.write(chunk).await.map_err(|why| refused(&why))?,
                Piece::Offer(_) => return Err(Status::invalid_argument("a snapshot has one offer")),
            }
        }
        answer(receiving.finish().await)
    }
}

/// Behind no door that asks for certificates, in tests, nobody proves anything.
fn sender<T>(request: &Request<T>) -> Option<PeerIdentity> {
    ca::peer(request).ok()
}

async fn next(pieces: &mut Streaming<v1::SnapshotPiece>) -> Result<Option<Piece>, Status> {
    let next = timeout(PIECE_MAX, pieces.message()).await;
    let next = next.map_err(|_elapsed| Status::deadline_exceeded("no piece of the snapshot came in time"))??;
    match next {
        None => Ok(None),
        Some(v1::SnapshotPiece { piece: Some(piece) }) => Ok(Some(piece)),
        Some(v1::SnapshotPiece { piece: None }) => {
            Err(Status::invalid_argument("a piece of a snapshot has nothing in it"))
        }
    }
}

fn answer(given: Result<Vec<u8>, InboxError>) -> Answer {
    given.map(|body| Response::new(v1::RaftResponse { body })).map_err(|why| refused(&why))
}

/// Between managers: nobody but their log reads it.
fn refused(why: &InboxError) -> Status {
    let text = why.to_string();
    match why {
        InboxError::Unreadable(_) | InboxError::Refused(_) | InboxError::NotLeader => Status::failed_precondition(text),
        InboxError::NoRoom => Status::resource_exhausted(text),
        InboxError::Stopped => Status::unavailable(text),
        InboxError::Damaged(_) => Status::data_loss(text),
        InboxError::Disk(_) => Status::internal(text),
    }
}
