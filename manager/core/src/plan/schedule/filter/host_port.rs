//! No task that has not ended holds one of the host ports that this one binds. A predecessor in the same slot counts
//! only against one that starts at once: engines bind a port when a container starts, so that its successor can be
//! prepared beside it, and an image that cannot be had costs no task that works.

use muster_proto::waiting::Refusal;

use super::{Offer, Want};

pub(super) fn check(want: &Want<'_>, offer: &Offer<'_>) -> Result<(), Refusal> {
    let mut asked = want.template.host_ports.iter().map(|port| port.published);
    let taken = asked.find(|port| offer.in_use.host_ports.contains(port));
    taken.map_or(Ok(()), |port| Err(Refusal::HostPort(port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::schedule::{fixture, seats::NodeUse};

    fn checked(asked: &[u16], held: &[u16]) -> Result<(), Refusal> {
        let mut template = fixture::template();
        template.host_ports = asked.iter().map(|port| fixture::host_port(*port)).collect();
        let in_use = NodeUse { host_ports: held.to_vec(), ..NodeUse::default() };
        check(&Want { template: &template }, &fixture::offer(&fixture::node(1), &in_use, 0))
    }

    #[test]
    fn a_held_port_is_refused_by_number() {
        assert_eq!(checked(&[80, 443], &[443]), Err(Refusal::HostPort(443)));
        assert_eq!(checked(&[80], &[443]), Ok(()));
        assert_eq!(checked(&[], &[80]), Ok(()));
    }

    #[test]
    fn a_port_left_to_the_engine_is_never_in_use() {
        assert_eq!(checked(&[0], &[80]), Ok(()));
    }
}
