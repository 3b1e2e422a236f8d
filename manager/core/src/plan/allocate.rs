//! Which port of the hosts each published port gets.
//!
//! Called when a service is created, updated or rolled back, before anything is changed.
//!
//! Invariants: an ingress port belongs to one service, because it is open on every node; for the same reason no other
//! service may bind its number in host mode. Two services may bind one host-mode port: the scheduler keeps their tasks
//! on different nodes. The same state gives the same ports.

use std::collections::{BTreeMap, BTreeSet};

use muster_proto::{
    endpoint::{EndpointSpec, PortConfig, Protocol, PublishMode},
    id::ServiceId,
    service::Service,
};

use crate::{rejection::Rejection, state::State};

type Key = (Protocol, u16);

/// `wanted` with every ingress port set, in the same order. `own`: the service that publishes them, when it exists
/// already; what it holds is no obstacle, and a port it was given for a target is kept.
pub fn ports(state: &State, wanted: &[PortConfig], own: Option<ServiceId>) -> Result<Vec<PortConfig>, Rejection> {
    if wanted.is_empty() {
        // Without a look at all services.
        return Ok(Vec::new());
    }
    let others = Others::of(state, own);
    let mut taken = explicit(wanted)?;
    for port in wanted.iter().filter(|port| port.published != 0) {
        others.admit(port)?;
    }
    let mut earlier = own.and_then(|id| state.service(id)).map(given).unwrap_or_default();
    let mut allocated = wanted.to_vec();
    for port in allocated.iter_mut().filter(|port| port.published == 0 && port.mode == PublishMode::Ingress) {
        let free = |number: &u16| {
            let key = (port.protocol, *number);
            !taken.contains(&key) && others.is_free(key)
        };
        let kept = earlier.get_mut(&(port.protocol, port.target)).and_then(BTreeSet::pop_first).filter(free);
        port.published =
            kept.or_else(|| EndpointSpec::DYNAMIC_PORTS.into_iter().find(free)).ok_or_else(no_free_port)?;
        taken.insert((port.protocol, port.published));
    }
    Ok(allocated)
}

/// The ports that the spec names itself.
fn explicit(wanted: &[PortConfig]) -> Result<BTreeSet<Key>, Rejection> {
    let mut named = BTreeSet::new();
    for port in wanted.iter().filter(|port| port.published != 0) {
        if !named.insert((port.protocol, port.published)) {
            return Err(Rejection::PortRepeated(port.published));
        }
    }
    Ok(named)
}

/// What the service was given before, by target. A port of its own choice is not among them.
fn given(service: &Service) -> BTreeMap<Key, BTreeSet<u16>> {
    let mut given: BTreeMap<Key, BTreeSet<u16>> = BTreeMap::new();
    let dynamic =
        |port: &&PortConfig| port.mode == PublishMode::Ingress && EndpointSpec::DYNAMIC_PORTS.contains(&port.published);
    for port in service.ports.iter().filter(dynamic) {
        given.entry((port.protocol, port.target)).or_default().insert(port.published);
    }
    given
}

fn no_free_port() -> Rejection {
    Rejection::NoFreePort { first: *EndpointSpec::DYNAMIC_PORTS.start(), last: *EndpointSpec::DYNAMIC_PORTS.end() }
}

/// What the other services hold, and which of them.
struct Others<'a> {
    ingress: BTreeMap<Key, &'a Service>,
    host: BTreeMap<Key, &'a Service>,
}

impl<'a> Others<'a> {
    fn of(state: &'a State, own: Option<ServiceId>) -> Self {
        let mut others = Self { ingress: BTreeMap::new(), host: BTreeMap::new() };
        for service in state.services().filter(|service| Some(service.id) != own) {
            for port in service.ports.iter().filter(|port| port.published != 0) {
                let held = match port.mode {
                    PublishMode::Ingress => &mut others.ingress,
                    PublishMode::Host => &mut others.host,
                };
                held.entry((port.protocol, port.published)).or_insert(service);
            }
        }
        others
    }

    fn is_free(&self, key: Key) -> bool {
        !self.ingress.contains_key(&key) && !self.host.contains_key(&key)
    }

    fn admit(&self, port: &PortConfig) -> Result<(), Rejection> {
        let key = (port.protocol, port.published);
        let in_the_way = match port.mode {
            PublishMode::Ingress => self.ingress.get(&key).or_else(|| self.host.get(&key)),
            PublishMode::Host => self.ingress.get(&key),
        };
        match in_the_way {
            Some(service) => Err(Rejection::PortTaken { port: port.published, by: service.spec.name.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::schedule::fixture;

    fn port(mode: PublishMode, published: u16, target: u16) -> PortConfig {
        PortConfig { protocol: Protocol::Tcp, target, published, mode }
    }

    fn ingress(published: u16, target: u16) -> PortConfig {
        port(PublishMode::Ingress, published, target)
    }

    fn host(published: u16, target: u16) -> PortConfig {
        port(PublishMode::Host, published, target)
    }

    fn state(services: &[&[PortConfig]]) -> State {
        let mut state = State::default();
        for (number, ports) in (1..).zip(services) {
            let mut service = fixture::service(number);
            service.ports = ports.to_vec();
            state.services.insert(service.id, service.into());
        }
        state
    }

    fn own(number: u128) -> Option<ServiceId> {
        Some(ServiceId::from_bits(number))
    }

    fn published(ports: Result<Vec<PortConfig>, Rejection>) -> Vec<u16> {
        ports.expect("the ports are free").iter().map(|port| port.published).collect()
    }

    #[test]
    fn ports_left_open_get_the_lowest_free_ones_in_order() {
        let state = state(&[&[ingress(30_000, 80)], &[host(30_002, 80)]]);
        let wanted = [ingress(0, 80), ingress(8_000, 81), ingress(0, 82), ingress(30_003, 83)];
        assert_eq!(published(ports(&state, &wanted, None)), [30_001, 8_000, 30_004, 30_003]);
    }

    #[test]
    fn a_host_port_left_open_is_left_to_the_engine() {
        assert_eq!(published(ports(&state(&[]), &[host(0, 80), host(0, 81)], None)), [0, 0]);
    }

    #[test]
    fn an_update_keeps_the_port_of_the_same_target() {
        let state = state(&[&[ingress(30_000, 80), ingress(30_007, 81), ingress(30_005, 81), ingress(9_000, 82)]]);
        let wanted = [ingress(0, 83), ingress(0, 81), ingress(0, 81), ingress(0, 80), ingress(0, 82)];
        assert_eq!(published(ports(&state, &wanted, own(1))), [30_000, 30_005, 30_007, 30_001, 30_002]);
    }

    #[test]
    fn one_number_serves_one_service_where_the_ingress_holds_it() {
        let state = state(&[&[ingress(80, 80)], &[host(90, 90)]]);
        let taken = |port, by: &str| Err(Rejection::PortTaken { port, by: by.into() });
        assert_eq!(ports(&state, &[ingress(80, 1)], None), taken(80, "service-1"));
        assert_eq!(ports(&state, &[host(80, 1)], None), taken(80, "service-1"));
        assert_eq!(ports(&state, &[ingress(90, 1)], None), taken(90, "service-2"));
        assert_eq!(published(ports(&state, &[host(90, 1)], None)), [90]);
    }

    #[test]
    fn a_services_own_ports_are_no_obstacle() {
        let state = state(&[&[ingress(80, 80), host(90, 90)]]);
        assert_eq!(published(ports(&state, &[host(80, 80), ingress(90, 90)], own(1))), [80, 90]);
    }

    #[test]
    fn a_spec_that_names_a_port_twice_is_refused() {
        for twice in [[ingress(80, 1), ingress(80, 2)], [host(80, 1), host(80, 2)], [host(80, 1), ingress(80, 1)]] {
            assert_eq!(ports(&state(&[]), &twice, None), Err(Rejection::PortRepeated(80)));
        }
    }

    #[test]
    fn when_every_port_is_given_out_the_range_is_named() {
        let all: Vec<PortConfig> = EndpointSpec::DYNAMIC_PORTS.map(|number| ingress(number, 80)).collect();
        let state = state(&[&all]);
        let refused = ports(&state, &[ingress(0, 80)], None);
        assert_eq!(refused, Err(Rejection::NoFreePort { first: 30_000, last: 32_767 }));
    }
}
