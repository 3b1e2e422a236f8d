//! Which published ports a service has. Called by `apply`, so that two managers cannot differ.

use muster_proto::{
    endpoint::{EndpointSpec, PortConfig, PublishMode},
    id::ServiceId,
};

use crate::{rejection::Rejection, state::State};

/// `wanted` with every ingress port's published port filled in. `own` is the service that asks, when it exists.
pub fn ports(state: &State, wanted: &[PortConfig], own: Option<ServiceId>) -> Result<Vec<PortConfig>, Rejection> {
    let others = || state.services().filter(|service| Some(service.id) != own);
    let ingress = |port: &&PortConfig| port.mode == PublishMode::Ingress;
    let mut given: Vec<PortConfig> = Vec::new();
    for port in wanted {
        let mut port = port.clone();
        if port.mode == PublishMode::Ingress && port.published == 0 {
            let earlier = own.and_then(|id| state.service(id)).and_then(|service| {
                service.ports.iter().filter(ingress).find(|p| p.target == port.target && !given.contains(p))
            });
            let free = |number: &u16| {
                !others().any(|s| s.ports.iter().filter(ingress).any(|p| p.published == *number))
                    && !wanted.iter().chain(&given).filter(ingress).any(|p| p.published == *number)
            };
            let range = EndpointSpec::DYNAMIC_PORTS;
            port.published = match earlier.map(|p| p.published).filter(|p| free(p)).or_else(|| range.clone().find(free))
            {
                Some(number) => number,
                None => return Err(Rejection::NoFreePort { first: *range.start(), last: *range.end() }),
            };
        } else if port.mode == PublishMode::Ingress
            && let Some(other) =
                others().find(|s| s.ports.iter().filter(ingress).any(|p| p.published == port.published))
        {
            return Err(Rejection::PortTaken { port: port.published, by: other.spec.name.clone() });
        }
        given.push(port);
    }
    Ok(given)
}
