//! The cluster's settings.

use muster_core::command::Command;
use muster_proto::{cluster::ClusterSpec, v1, validate, version::Version};
use tonic::Status;

use super::{Control, Known, request::Asked};
use crate::status;

impl Control {
    pub(super) async fn change_cluster(
        &self,
        asked: Asked,
        request: v1::UpdateClusterRequest,
    ) -> Result<v1::UpdateClusterResponse, Status> {
        let wire =
            request.spec.ok_or_else(|| Status::invalid_argument("the request has no settings; send them all"))?;
        let spec = ClusterSpec::try_from(wire).map_err(|error| status::malformed(&error))?;
        validate::cluster_spec(&spec).map_err(|error| status::malformed(&error))?;
        self.up_to_date().await?;
        let version = match self.look(asked.first(), |_| Ok(()))? {
            Known::Done(version) => version,
            Known::New(()) => {
                let version = Version(request.version);
                self.propose(asked.first(), Command::UpdateCluster { version, spec: Box::new(spec) }).await?
            }
        };
        Ok(v1::UpdateClusterResponse { version: version.0 })
    }
}
