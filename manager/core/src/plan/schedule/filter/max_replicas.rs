//! The node is below the service's limit of replicas. A replica is a slot: the old and the new task of one slot, side
//! by side in a start-first replacement, are one.

use muster_proto::waiting::Refusal;

use super::{Offer, Want};

pub(super) fn check(want: &Want<'_>, offer: &Offer<'_>) -> Result<(), Refusal> {
    match want.template.spec.placement.max_replicas_per_node {
        Some(max) if offer.replicas >= max => Err(Refusal::MaxReplicas(max)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::schedule::{fixture, seats::NodeUse};

    #[test]
    fn the_limit_itself_may_be_reached_and_not_passed() {
        let mut template = fixture::template();
        let (node, in_use) = (fixture::node(1), NodeUse::default());
        let mut checked = |max, replicas| {
            template.spec.placement.max_replicas_per_node = max;
            check(&Want { template: &template }, &fixture::offer(&node, &in_use, replicas))
        };
        assert_eq!(checked(None, 1_000), Ok(()));
        assert_eq!(checked(Some(2), 1), Ok(()));
        assert_eq!(checked(Some(2), 2), Err(Refusal::MaxReplicas(2)));
    }
}
