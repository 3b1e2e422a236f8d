//! The Local service: what the command line asks of this host's daemon itself.

use std::{future::Future, sync::Arc};

use anyhow::anyhow;
use muster_proto::{
    node::{EngineHealth, Role},
    show,
    v1::{self, local_server::Local},
};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

use super::{
    host::{Force, Host, Joined, Left},
    member::hostname,
    membership::Membership,
    restore::BACKUP_BYTES_MAX,
};

#[derive(Debug)]
pub(super) struct Service {
    host: Arc<Host>,
    changes: TaskTracker,
    shutdown: CancellationToken,
}

impl Service {
    /// Changes of the membership are `changes`; what is still to be done of them at `shutdown` is left to the next daemon.
    pub(super) fn new(host: Arc<Host>, changes: TaskTracker, shutdown: CancellationToken) -> Self {
        Self { host, changes, shutdown }
    }

    /// Carries a change of the membership to its end. It is no part of the call: when the command line goes away, that
    /// is dropped where it stands, and this host would be left with half of what it should run.
    async fn change<T, W>(&self, change: impl FnOnce(Arc<Host>) -> W) -> Result<T, Status>
    where
        T: Send + 'static,
        W: Future<Output = anyhow::Result<T>> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let (change, shutdown) = (change(Arc::clone(&self.host)), self.shutdown.clone());
        self.changes.spawn(async move {
            let done = tokio::select! {
                biased;
                () = shutdown.cancelled() => Err(anyhow!("this host's daemon is stopping; repeat the command once it runs again")),
                done = change => done,
            };
            if let Err(Err(error)) = tell.send(done) {
                tracing::warn!("whoever asked for it is gone: {error:#}");
            }
        });
        match told.await {
            Ok(done) => done.map_err(|error| refused(&error)),
            Err(_broken_off) => Err(Status::internal("this host's daemon broke the command off; its log says why")),
        }
    }
}

/// Every error here is a sentence for the user, with its causes behind it.
fn refused(error: &anyhow::Error) -> Status {
    Status::failed_precondition(format!("{error:#}"))
}

#[tonic::async_trait]
impl Local for Service {
    async fn init(&self, request: Request<v1::InitRequest>) -> Result<Response<v1::InitResponse>, Status> {
        let v1::InitRequest { advertise_addr } = request.into_inner();
        let record = self.change(|host| async move { host.init(&advertise_addr).await }).await?;
        Ok(Response::new(v1::InitResponse {
            cluster_id: record.cluster_id.to_string(),
            node_id: record.node_id.to_string(),
            advertise_addr: record.advertise_addr,
        }))
    }

    async fn leave(&self, request: Request<v1::LeaveRequest>) -> Result<Response<v1::LeaveResponse>, Status> {
        let force = if request.into_inner().force { Force::Yes } else { Force::No };
        let Left { containers_removed, warnings } = self.change(|host| async move { host.leave(force).await }).await?;
        Ok(Response::new(v1::LeaveResponse { containers_removed, warnings }))
    }

    async fn info(&self, request: Request<v1::InfoRequest>) -> Result<Response<v1::InfoResponse>, Status> {
        let (member, engine) = self.host.describe().await.map_err(|error| refused(&error))?;
        let args = self.host.args();
        let state = match request.into_inner().state_digest {
            true => self.host.state_digest().await.map_err(|error| refused(&error))?,
            false => None,
        };
        Ok(Response::new(v1::InfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: hostname(),
            data_dir: args.data_dir.display().to_string(),
            listen_addr: args.listen_addr.to_string(),
            engine: engine.name.to_owned(),
            engine_version: engine.version,
            engine_unavailable: match engine.health {
                EngineHealth::Ok => None,
                EngineHealth::Unavailable(why) => Some(why),
            },
            membership: member.map(membership),
            pid: std::process::id(),
            state: state.map(|state| v1::StateDigest { applied_index: state.applied_index, digest: state.digest }),
        }))
    }

    async fn join(
        &self,
        request: Request<v1::JoinClusterRequest>,
    ) -> Result<Response<v1::JoinClusterResponse>, Status> {
        let request = request.into_inner();
        let Joined { record, voter } = self.change(|host| async move { host.join(&request).await }).await?;
        Ok(Response::new(v1::JoinClusterResponse {
            cluster_id: record.cluster_id.to_string(),
            node_id: record.node_id.to_string(),
            role: v1::Role::from(record.role).into(),
            advertise_addr: record.advertise_addr,
            voter,
            managers: u32::try_from(record.managers.len()).unwrap_or(u32::MAX),
        }))
    }

    async fn restore(
        &self,
        request: Request<tonic::Streaming<v1::RestoreRequest>>,
    ) -> Result<Response<v1::RestoreResponse>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.unwrap_or_default();
        let advertise_addr = first.advertise_addr.clone().unwrap_or_default();
        self.host.check_restore(&advertise_addr).await.map_err(|error| refused(&error))?;
        if first.check_only {
            return Ok(Response::new(v1::RestoreResponse::default()));
        }
        let force = if first.force { Force::Yes } else { Force::No };
        let backup = collect(first.bytes, messages).await?;
        let (record, recovered) =
            self.change(|host| async move { host.restore(&advertise_addr, force, backup).await }).await?;
        Ok(Response::new(v1::RestoreResponse {
            cluster_id: record.cluster_id.to_string(),
            node_id: record.node_id.to_string(),
            advertise_addr: record.advertise_addr,
            services: u32::try_from(recovered.services).unwrap_or(u32::MAX),
            nodes: u32::try_from(recovered.nodes).unwrap_or(u32::MAX),
        }))
    }

    async fn recover(&self, request: Request<v1::RecoverRequest>) -> Result<Response<v1::RecoverResponse>, Status> {
        let v1::RecoverRequest { force, advertise_addr } = request.into_inner();
        let force = if force { Force::Yes } else { Force::No };
        let (record, recovered) = self.change(|host| async move { host.recover(force, &advertise_addr).await }).await?;
        Ok(Response::new(v1::RecoverResponse {
            cluster_id: record.cluster_id.to_string(),
            incarnation: recovered.incarnation,
            former_managers: recovered.former_managers,
            services: u32::try_from(recovered.services).unwrap_or(u32::MAX),
        }))
    }
}

fn membership(member: Membership) -> v1::Member {
    let (managers, trouble, record) = (member.managers(), member.trouble(), member.record);
    let held = record.credentials().ok().and_then(|held| held.identity().ok());
    v1::Member {
        cluster_id: record.cluster_id.to_string(),
        node_id: record.node_id.to_string(),
        manager: record.role == Role::Manager,
        advertise_addr: record.advertise_addr,
        managers,
        incarnation: record.incarnation,
        certificate_expires_at: held.map(|identity| identity.expires_at.millis()),
        trouble,
    }
}

/// All the bytes. A stream that breaks off is no backup.
async fn collect(mut backup: Vec<u8>, mut messages: tonic::Streaming<v1::RestoreRequest>) -> Result<Vec<u8>, Status> {
    while let Some(message) = messages.message().await? {
        if backup.len() + message.bytes.len() > BACKUP_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "a backup of more than {} is not taken; name the file that `muster backup` wrote",
                show::bytes(BACKUP_BYTES_MAX as u64)
            )));
        }
        backup.extend(message.bytes);
    }
    Ok(backup)
}
