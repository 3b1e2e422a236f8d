//! What users ask of a cluster: handlers that convert, call and convert.
//!
//! Served on the daemon's local socket. Reads follow a barrier, so that they see whatever was acknowledged before; what a
//! change at a version looks at need not, as `apply` looks again.
//! Deliberately absent: decisions. A spec is judged by [`muster_proto::validate`], by [`admission`] where this host has
//! to be asked, and for good by [`muster_core::apply`].

mod admission;
mod cluster;
mod draining;
mod listing;
mod lookup;
mod nodes;
mod rebalance;
mod request;
mod services;
mod steering;
mod trust;
mod watch;

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _};
use muster_core::{
    command::{Command, Steer},
    state::State,
};
use muster_proto::{
    id::RequestId,
    v1::{
        self,
        control_server::{self, ControlServer},
    },
    version::Version,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use self::request::Asked;
use crate::{backup, forward::PassedOn, logs, manager::Handle, raft::LEASE, status};

pub(crate) use lookup::LogScope;

/// Of a request. A spec is far below it; see [`muster_proto::validate::SPEC_BYTES_MAX`].
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Of a backup, between its making and the connection.
const PIECES_WAITING_MAX: usize = 4;
/// Of an answer: all tasks of a large cluster.
const ANSWER_BYTES_MAX: usize = 256 << 20;

impl Handle {
    /// To be served on the local socket, to the users of this host.
    #[must_use]
    pub fn control(&self) -> ControlServer<Control> {
        ControlServer::new(Control { handle: self.clone() })
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX)
    }
}

impl PassedOn for ControlServer<Control> {
    const REQUEST_BYTES_MAX: usize = REQUEST_BYTES_MAX;
}

#[derive(Clone, Debug)]
pub struct Control {
    handle: Handle,
}

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Control {
    /// After it returns, a read sees every change that was acknowledged before.
    async fn up_to_date(&self) -> Result<(), Status> {
        self.handle.replica.barrier().await.map_err(|error| status::unproposed(&error))
    }

    /// Returns once it is applied, with the new version of what it is about.
    async fn propose(&self, request: RequestId, command: Command) -> Result<Version, Status> {
        let outcome = self.handle.replica.propose_as(request, command).await;
        outcome.map_err(|error| status::unproposed(&error)).and_then(status::accepted)
    }

    /// What a request rests on, unless it was made before.
    fn look<T>(&self, request: RequestId, look: impl FnOnce(&State) -> Result<T, Status>) -> Result<Known<T>, Status> {
        self.handle.replica.read(|state| match state.first_outcome(request) {
            Some(first) => status::accepted(first.clone()).map(Known::Done),
            None => look(state).map(Known::New),
        })
    }

    /// The same for a change of something at a version, on which `apply` insists. So what this copy of the state has is
    /// good enough where it fits, this manager has applied what earlier leaders acknowledged, and a majority has just
    /// followed it: otherwise the change would wait for one. What does not fit may have changed meanwhile, and is looked
    /// at again behind a read point.
    async fn rest_on<T>(
        &self,
        request: RequestId,
        look: impl Fn(&State) -> Result<T, Status>,
    ) -> Result<Known<T>, Status> {
        if self.handle.backing.has_caught_up(LEASE)
            && let Ok(known) = self.look(request, &look)
        {
            return Ok(known);
        }
        self.up_to_date().await?;
        self.look(request, look)
    }

    fn asked<T>(&self, request: &Request<T>) -> Result<Asked, Status> {
        Asked::of(request, &*self.handle.outside.random)
    }
}

/// Whether a request was carried out already.
#[derive(Clone, Copy, Debug)]
enum Known<T> {
    Done(Version),
    New(T),
}

#[tonic::async_trait]
impl control_server::Control for Control {
    async fn create_service(&self, request: Request<v1::CreateServiceRequest>) -> Answer<v1::CreateServiceResponse> {
        let asked = self.asked(&request)?;
        self.create(asked, request.into_inner()).await.map(Response::new)
    }

    async fn update_service(&self, request: Request<v1::UpdateServiceRequest>) -> Answer<v1::UpdateServiceResponse> {
        let asked = self.asked(&request)?;
        self.update(asked, request.into_inner()).await.map(Response::new)
    }

    async fn rollback_service(
        &self,
        request: Request<v1::RollbackServiceRequest>,
    ) -> Answer<v1::UpdateServiceResponse> {
        let asked = self.asked(&request)?;
        self.rollback(asked, request.into_inner()).await.map(Response::new)
    }

    async fn pause_rollout(&self, request: Request<v1::SteerRolloutRequest>) -> Answer<v1::UpdateServiceResponse> {
        let asked = self.asked(&request)?;
        self.steer(asked, request.into_inner(), Steer::Pause).await.map(Response::new)
    }

    async fn resume_rollout(&self, request: Request<v1::SteerRolloutRequest>) -> Answer<v1::UpdateServiceResponse> {
        let asked = self.asked(&request)?;
        self.steer(asked, request.into_inner(), Steer::Resume).await.map(Response::new)
    }

    async fn promote_service(&self, request: Request<v1::SteerRolloutRequest>) -> Answer<v1::UpdateServiceResponse> {
        let asked = self.asked(&request)?;
        self.steer(asked, request.into_inner(), Steer::Promote).await.map(Response::new)
    }

    async fn remove_service(&self, request: Request<v1::RemoveServiceRequest>) -> Answer<v1::RemoveServiceResponse> {
        let asked = self.asked(&request)?;
        self.remove(asked, &request.into_inner().id).await.map(Response::new)
    }

    async fn get_service(&self, request: Request<v1::GetServiceRequest>) -> Answer<v1::GetServiceResponse> {
        self.up_to_date().await?;
        let wanted = request.into_inner().service;
        let service = self.handle.replica.read(|state| lookup::service(state, &wanted).map(v1::Service::from))?;
        Ok(Response::new(v1::GetServiceResponse { service: Some(service) }))
    }

    async fn list_services(&self, _request: Request<v1::ListServicesRequest>) -> Answer<v1::ListServicesResponse> {
        self.up_to_date().await?;
        let services = self.handle.replica.read(listing::services);
        Ok(Response::new(v1::ListServicesResponse { services }))
    }

    type WatchServiceStream = Streamed<v1::WatchServiceResponse>;

    async fn watch_service(&self, request: Request<v1::GetServiceRequest>) -> Answer<Self::WatchServiceStream> {
        self.up_to_date().await?;
        let wanted = request.into_inner().service;
        let id = self.handle.replica.read(|state| lookup::service_or_remains(state, &wanted))?;
        let place = self.handle.streams.admit()?;
        Ok(Response::new(Box::pin(watch::stream(&self.handle, id, place))))
    }

    async fn list_tasks(&self, request: Request<v1::ListTasksRequest>) -> Answer<v1::ListTasksResponse> {
        self.up_to_date().await?;
        let wanted = request.into_inner();
        let tasks = self.handle.replica.read(|state| listing::tasks(state, &wanted))?;
        Ok(Response::new(v1::ListTasksResponse { tasks }))
    }

    type ServiceLogsStream = Streamed<v1::LogLine>;

    async fn service_logs(&self, request: Request<v1::ServiceLogsRequest>) -> Answer<Self::ServiceLogsStream> {
        self.up_to_date().await?;
        let wanted = request.into_inner();
        let scope = self.handle.replica.read(|state| lookup::log_scope(state, &wanted))?;
        let place = self.handle.streams.admit()?;
        let relay = logs::Relay::new(&self.handle, scope, &wanted, place);
        Ok(Response::new(Box::pin(relay.stream())))
    }

    async fn get_node(&self, request: Request<v1::GetNodeRequest>) -> Answer<v1::GetNodeResponse> {
        self.up_to_date().await?;
        let wanted = request.into_inner().node;
        let managers = self.handle.managers();
        let node = self
            .handle
            .replica
            .read(|state| lookup::node(state, &wanted).map(|node| listing::node(&self.handle, &managers, node)))?;
        Ok(Response::new(v1::GetNodeResponse { node: Some(node) }))
    }

    async fn update_node(&self, request: Request<v1::UpdateNodeRequest>) -> Answer<v1::UpdateNodeResponse> {
        let asked = self.asked(&request)?;
        self.change_node(asked, request.into_inner()).await.map(Response::new)
    }

    async fn list_nodes(&self, _request: Request<v1::ListNodesRequest>) -> Answer<v1::ListNodesResponse> {
        self.up_to_date().await?;
        let (handle, managers) = (&self.handle, self.handle.managers());
        let nodes = handle.replica.read(|state| {
            let nodes = state.nodes().map(|node| listing::node(handle, &managers, node));
            nodes.collect()
        });
        Ok(Response::new(v1::ListNodesResponse { nodes }))
    }

    async fn get_cluster(&self, _request: Request<v1::GetClusterRequest>) -> Answer<v1::GetClusterResponse> {
        self.up_to_date().await?;
        self.handle.replica.read(listing::cluster).map(Response::new)
    }

    async fn remove_node(&self, request: Request<v1::RemoveNodeRequest>) -> Answer<v1::RemoveNodeResponse> {
        let asked = self.asked(&request)?;
        self.remove_member(asked, request.into_inner()).await.map(Response::new)
    }

    async fn update_cluster(&self, request: Request<v1::UpdateClusterRequest>) -> Answer<v1::UpdateClusterResponse> {
        let asked = self.asked(&request)?;
        self.change_cluster(asked, request.into_inner()).await.map(Response::new)
    }

    async fn rebalance(&self, request: Request<v1::RebalanceRequest>) -> Answer<v1::RebalanceResponse> {
        let asked = self.asked(&request)?;
        self.even_out(asked, request.into_inner()).await.map(Response::new)
    }

    async fn get_join_token(&self, request: Request<v1::GetJoinTokenRequest>) -> Answer<v1::GetJoinTokenResponse> {
        let asked = self.asked(&request)?;
        self.join_token(asked, request.into_inner()).await.map(Response::new)
    }

    async fn rotate_ca(&self, request: Request<v1::RotateCaRequest>) -> Answer<v1::RotateCaResponse> {
        let asked = self.asked(&request)?;
        self.rotate(asked, request.into_inner()).await.map(Response::new)
    }

    type BackupStream = Streamed<v1::BackupChunk>;

    async fn backup(&self, _request: Request<v1::BackupRequest>) -> Answer<Self::BackupStream> {
        self.up_to_date().await?;
        let place = self.handle.streams.admit()?;
        let (out, pieces) = mpsc::channel(PIECES_WAITING_MAX);
        let (state, key) = (self.handle.replica.read(State::clone), self.handle.config.cluster_key.clone());
        let now = self.handle.outside.clock.now();
        // Ends with the stream, whose end it holds.
        tokio::task::spawn_blocking(move || {
            if let Err(why) = backup::write(backup::Pieces::new(out.clone()), &state, &key, now) {
                tracing::info!(error = %why, "a backup was not taken to its end");
                // Whoever takes it must not think that it is whole. Nobody is left where the stream has ended.
                let _ = out.blocking_send(Err(why));
            }
            drop(place);
        });
        let chunks = ReceiverStream::new(pieces).map(|piece| match piece {
            Ok(bytes) => Ok(v1::BackupChunk { bytes }),
            Err(why) => Err(Status::internal(format!("the backup broke off ({why}); take it again"))),
        });
        Ok(Response::new(Box::pin(self.handle.streams.until_stopped(chunks))))
    }
}
