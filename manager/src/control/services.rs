//! Changes to services: admit, propose, answer.

use muster_core::{
    command::{Command, Steer},
    rejection::Rejection,
    state::State,
};
use muster_proto::{service::Service, v1, version::Version};
use tonic::Status;

use super::{
    Control, Known,
    admission::{self, Resolve},
    lookup,
    request::Asked,
    steering,
};
use crate::status;

impl Control {
    pub(super) async fn create(
        &self,
        asked: Asked,
        request: v1::CreateServiceRequest,
    ) -> Result<v1::CreateServiceResponse, Status> {
        let spec = admission::read_spec(request.spec)?;
        self.up_to_date().await?;
        let id = asked.service();
        // `apply` has the last word; asked before this host is, so that a taken name is not answered by a slow registry.
        let known = self.look(asked.first(), |state| match state.service_named(&spec.name) {
            Some(holder) => Err(status::rejected(&Rejection::NameTaken { name: spec.name.clone(), id: holder.id })),
            None => Ok(()),
        })?;
        let warnings = match known {
            Known::Done(_) => Vec::new(),
            Known::New(()) => {
                let preflight = &*self.handle.config.preflight;
                let admitted = admission::admit(preflight, spec, None, Resolve::Always).await?;
                let command = Command::CreateService { id, spec: Box::new(admitted.spec) };
                self.propose(asked.first(), command).await?;
                admitted.warnings
            }
        };
        Ok(v1::CreateServiceResponse { id: id.to_string(), warnings })
    }

    pub(super) async fn update(
        &self,
        asked: Asked,
        request: v1::UpdateServiceRequest,
    ) -> Result<v1::UpdateServiceResponse, Status> {
        let spec = admission::read_spec(request.spec)?;
        let read = Version(request.version);
        let current = match self.rest_on(asked.first(), |state| current(state, &request.id, read)).await? {
            Known::Done(version) => return Ok(updated(version, Vec::new())),
            Known::New(current) => current,
        };
        let resolve = if request.resolve_image { Resolve::Always } else { Resolve::IfChanged };
        let preflight = &*self.handle.config.preflight;
        let admitted = admission::admit(preflight, spec, Some(&current), resolve).await?;
        let spec = Box::new(admitted.spec);
        let command = Command::UpdateService { id: current.id, version: current.version, spec };
        Ok(updated(self.propose(asked.first(), command).await?, admitted.warnings))
    }

    pub(super) async fn rollback(
        &self,
        asked: Asked,
        request: v1::RollbackServiceRequest,
    ) -> Result<v1::UpdateServiceResponse, Status> {
        let read = Version(request.version);
        let version = match self.rest_on(asked.first(), |state| current(state, &request.id, read)).await? {
            Known::Done(version) => version,
            Known::New(Service { id, version, .. }) => {
                self.propose(asked.first(), Command::RollbackService { id, version }).await?
            }
        };
        Ok(updated(version, Vec::new()))
    }

    pub(super) async fn steer(
        &self,
        asked: Asked,
        request: v1::SteerRolloutRequest,
        steer: Steer,
    ) -> Result<v1::UpdateServiceResponse, Status> {
        let read = Version(request.version);
        let version = match self.rest_on(asked.first(), |state| current(state, &request.id, read)).await? {
            Known::Done(version) => version,
            Known::New(service) => {
                steering::check(&service, steer)?;
                let Service { id, version, .. } = service;
                self.propose(asked.first(), Command::SteerRollout { id, version, steer }).await?
            }
        };
        Ok(updated(version, Vec::new()))
    }

    pub(super) async fn remove(&self, asked: Asked, wanted: &str) -> Result<v1::RemoveServiceResponse, Status> {
        self.up_to_date().await?;
        match self.look(asked.first(), |state| lookup::service(state, wanted).map(|service| service.id))? {
            Known::Done(_) => {}
            Known::New(id) => {
                self.propose(asked.first(), Command::RemoveService { id }).await?;
            }
        }
        Ok(v1::RemoveServiceResponse {})
    }
}

fn updated(version: Version, warnings: Vec<String>) -> v1::UpdateServiceResponse {
    v1::UpdateServiceResponse { version: version.0, warnings }
}

/// The service as the caller must have read it: what it asks for rests on that.
fn current(state: &State, wanted: &str, read: Version) -> Result<Service, Status> {
    let current = lookup::service(state, wanted)?;
    match current.version == read {
        true => Ok(current.clone()),
        false => Err(status::rejected(&Rejection::ServiceChanged { read, now: current.version })),
    }
}
