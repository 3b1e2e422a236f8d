//! Published ports.

use std::collections::BTreeSet;

use super::{Invalid, Result, count};
use crate::endpoint::EndpointSpec;

/// Each ingress port is a listener on every node.
const PORTS_MAX: usize = 128;

pub(super) fn check(endpoint: &EndpointSpec) -> Result {
    count("ports", "published ports", endpoint.ports.len(), PORTS_MAX)?;
    let mut published = BTreeSet::new();
    let mut unnumbered = BTreeSet::new();
    for port in &endpoint.ports {
        if port.target == 0 {
            return Err(Invalid::new(
                "ports",
                "a published port leads to port 0 of the container",
                "name the port the container listens on",
            ));
        }
        // In one network namespace a port is taken once, whoever binds it: the ingress or a container.
        if port.published != 0 && !published.insert((port.protocol, port.published)) {
            return Err(Invalid::new(
                "ports",
                format!("port {}/{} is published twice", port.published, port.protocol),
                "leave one of them out",
            ));
        }
        if port.published == 0 && !unnumbered.insert(port) {
            return Err(Invalid::new(
                "ports",
                format!(
                    "port {}/{} of the container is published twice on a port to be chosen",
                    port.target, port.protocol
                ),
                "leave one of them out",
            ));
        }
    }
    Ok(())
}
