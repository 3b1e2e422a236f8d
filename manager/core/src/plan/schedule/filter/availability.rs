//! The operator lets the node have new tasks.

use muster_proto::{
    node::{Availability, Node},
    waiting::Refusal,
};

use super::Want;

pub(super) fn check(_: &Want<'_>, node: &Node) -> Result<(), Refusal> {
    match node.spec.availability {
        Availability::Active => Ok(()),
        Availability::Pause => Err(Refusal::NodePaused),
        Availability::Drain => Err(Refusal::NodeDrained),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::schedule::fixture;

    #[test]
    fn paused_and_drained_nodes_get_nothing_new() {
        let template = fixture::template();
        let mut node = fixture::node(1);
        let mut checked = |availability| {
            node.spec.availability = availability;
            check(&Want { template: &template }, &node)
        };
        assert_eq!(checked(Availability::Active), Ok(()));
        assert_eq!(checked(Availability::Pause), Err(Refusal::NodePaused));
        assert_eq!(checked(Availability::Drain), Err(Refusal::NodeDrained));
    }
}
