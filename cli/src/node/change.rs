//! A change of a node as it is now, for `node update`, `promote` and `demote`, and for who writes on and on.

use muster_proto::{
    node::{NodeChange, Role},
    v1,
};
use tonic::Code;

use crate::{connect::Daemon, error::Error, object::Node};

/// A node's version changes with what its agent says of it, so a change made meanwhile is read and made again.
const ATTEMPTS_MAX: u32 = 10;

/// Reads the node, makes the change that `decide` has for it, and returns the daemon's warnings.
pub(crate) async fn make(
    daemon: &Daemon,
    node: &str,
    mut decide: impl FnMut(&Node) -> Result<NodeChange, Error>,
) -> Result<Vec<String>, Error> {
    let mut attempts_left = ATTEMPTS_MAX;
    loop {
        let before = daemon.node(node).await?;
        let change = decide(&before)?;
        let request = v1::UpdateNodeRequest {
            node: before.id.clone(),
            version: before.version,
            availability: v1::Availability::from(change.availability).into(),
            labels: change.labels,
            role: change.role.map_or(v1::Role::Unspecified, v1::Role::from).into(),
        };
        attempts_left -= 1;
        let steps_back = change.role == Some(Role::Worker);
        match daemon.control().update_node(request).await {
            Ok(answer) => return Ok(answer.into_inner().warnings),
            Err(status) if status.code() == Code::Aborted && attempts_left > 0 => {}
            // This host itself, made a worker, is heard as one already when its manager passes the answer on. The role is
            // changed last, so that all else is done.
            Err(status) if status.code() == Code::PermissionDenied && steps_back => {
                if daemon.own_node_id().await?.as_ref() == Some(&before.id) {
                    return Ok(Vec::new());
                }
                return Err(status.into());
            }
            Err(status) => return Err(status.into()),
        }
    }
}
