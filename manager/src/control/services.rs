//! Changes to services: admit, propose, answer.

use muster_core::{
    command::{Command, Steer},
    rejection::Rejection,
};
use muster_proto::{id::ServiceId, service::Service, v1, version::Version};
use tonic::Status;

use super::{
    Control,
    admission::{self, Resolve},
    lookup,
};
use crate::status;

impl Control {
    pub(super) async fn create(&self, request: v1::CreateServiceRequest) -> Result<v1::CreateServiceResponse, Status> {
        let spec = admission::read_spec(request.spec)?;
        self.up_to_date().await?;
        // `apply` has the last word; asked before this host is, so that a taken name is not answered by a slow registry.
        if let Some(holder) = self.handle.replica.read(|state| state.service_named(&spec.name).map(|holder| holder.id))
        {
            return Err(status::rejected(&Rejection::NameTaken { name: spec.name, id: holder }));
        }
        let preflight = &*self.handle.config.preflight;
        let admitted = admission::admit(preflight, spec, None, Resolve::Always).await?;
        let id = ServiceId::from_bits(self.handle.outside.random.wide_bits());
        self.propose(Command::CreateService { id, spec: Box::new(admitted.spec) }).await?;
        Ok(v1::CreateServiceResponse { id: id.to_string(), warnings: admitted.warnings })
    }

    pub(super) async fn update(&self, request: v1::UpdateServiceRequest) -> Result<v1::UpdateServiceResponse, Status> {
        let spec = admission::read_spec(request.spec)?;
        let current = self.current(&request.id, Version(request.version)).await?;
        let resolve = if request.resolve_image { Resolve::Always } else { Resolve::IfChanged };
        let preflight = &*self.handle.config.preflight;
        let admitted = admission::admit(preflight, spec, Some(&current), resolve).await?;
        let spec = Box::new(admitted.spec);
        let version = self.propose(Command::UpdateService { id: current.id, version: current.version, spec }).await?;
        Ok(v1::UpdateServiceResponse { version: version.0, warnings: admitted.warnings })
    }

    pub(super) async fn rollback(
        &self,
        request: v1::RollbackServiceRequest,
    ) -> Result<v1::UpdateServiceResponse, Status> {
        let current = self.current(&request.id, Version(request.version)).await?;
        let version = self.propose(Command::RollbackService { id: current.id, version: current.version }).await?;
        Ok(v1::UpdateServiceResponse { version: version.0, warnings: Vec::new() })
    }

    pub(super) async fn steer(
        &self,
        request: v1::SteerRolloutRequest,
        steer: Steer,
    ) -> Result<v1::UpdateServiceResponse, Status> {
        let current = self.current(&request.id, Version(request.version)).await?;
        let command = Command::SteerRollout { id: current.id, version: current.version, steer };
        let version = self.propose(command).await?;
        Ok(v1::UpdateServiceResponse { version: version.0, warnings: Vec::new() })
    }

    pub(super) async fn remove(&self, wanted: &str) -> Result<v1::RemoveServiceResponse, Status> {
        self.up_to_date().await?;
        let id = self.handle.replica.read(|state| lookup::service(state, wanted).map(|service| service.id))?;
        self.propose(Command::RemoveService { id }).await?;
        Ok(v1::RemoveServiceResponse {})
    }

    /// The service as the caller must have read it: what it asks for rests on that.
    async fn current(&self, wanted: &str, read: Version) -> Result<Service, Status> {
        self.up_to_date().await?;
        let current = self.handle.replica.read(|state| lookup::service(state, wanted).cloned())?;
        match current.version == read {
            true => Ok(current),
            false => Err(status::rejected(&Rejection::ServiceChanged { read, now: current.version })),
        }
    }
}
