//! Changes to nodes: check, propose, answer.

use muster_core::command::Command;
use muster_proto::{
    node::{NodeChange, NodeSpec},
    v1, validate,
    version::Version,
};
use tonic::Status;

use super::{Control, lookup};
use crate::status;

impl Control {
    /// `apply` compares the versions, so that the role, which is taken from the node as it is here, is the one that the
    /// caller read.
    pub(super) async fn change_node(&self, request: v1::UpdateNodeRequest) -> Result<v1::UpdateNodeResponse, Status> {
        let (wanted, version) = (request.node.clone(), Version(request.version));
        let change = NodeChange::try_from(request).map_err(|error| status::malformed(&error))?;
        validate::node_change(&change).map_err(|error| status::malformed(&error))?;
        self.up_to_date().await?;
        let (id, role) =
            self.handle.replica.read(|state| lookup::node(state, &wanted).map(|node| (node.id, node.spec.role)))?;
        let spec = NodeSpec { role, availability: change.availability, labels: change.labels };
        let version = self.propose(Command::UpdateNode { id, version, spec }).await?;
        Ok(v1::UpdateNodeResponse { version: version.0, warnings: Vec::new() })
    }
}
