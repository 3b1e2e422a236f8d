//! What the task reserves is free on the node. Limits are not reserved: they may add up to more than the node has.

use muster_proto::waiting::Refusal;

use super::{Offer, Want};
use crate::plan::schedule::seats;

pub(super) fn check(want: &Want<'_>, offer: &Offer<'_>) -> Result<(), Refusal> {
    let asked = &want.template.spec.resources.reservations;
    if asked.nano_cpus == 0 && asked.memory_bytes == 0 {
        return Ok(());
    }
    let free = seats::free(offer.node, offer.in_use);
    if asked.nano_cpus > free.nano_cpus {
        return Err(Refusal::Cpu { asked: asked.nano_cpus, free_max: free.nano_cpus });
    }
    if asked.memory_bytes > free.memory_bytes {
        return Err(Refusal::Memory { asked: asked.memory_bytes, free_max: free.memory_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_proto::resources::Resources;

    use super::*;
    use crate::plan::schedule::{fixture, seats::NodeUse};

    fn checked(asked: (u64, u64), reserved: (u64, u64)) -> Result<(), Refusal> {
        let resources = |(nano_cpus, memory_bytes)| Resources { nano_cpus, memory_bytes };
        let mut template = fixture::template();
        template.spec.resources.reservations = resources(asked);
        let mut node = fixture::node(1);
        node.description.as_mut().expect("the fixture describes its nodes").resources = resources((100, 1_000));
        let in_use = NodeUse { reserved: resources(reserved), ..NodeUse::default() };
        check(&Want { template: &template }, &fixture::offer(&node, &in_use, 0))
    }

    #[test]
    fn the_last_bit_may_be_taken() {
        assert_eq!(checked((100, 1_000), (0, 0)), Ok(()));
        assert_eq!(checked((40, 300), (60, 700)), Ok(()));
    }

    #[test]
    fn a_refusal_says_what_is_free() {
        assert_eq!(checked((41, 0), (60, 0)), Err(Refusal::Cpu { asked: 41, free_max: 40 }));
        assert_eq!(checked((0, 301), (0, 700)), Err(Refusal::Memory { asked: 301, free_max: 300 }));
    }

    #[test]
    fn a_node_that_shrank_has_nothing_free_and_still_takes_who_asks_for_nothing() {
        assert_eq!(checked((1, 0), (200, 2_000)), Err(Refusal::Cpu { asked: 1, free_max: 0 }));
        assert_eq!(checked((0, 0), (200, 2_000)), Ok(()));
    }
}
