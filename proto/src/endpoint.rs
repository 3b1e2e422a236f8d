//! The ports a service publishes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// UDP and SCTP are refused at the command line until the ingress carries them whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    #[default]
    Tcp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PublishMode {
    /// Open on every node; connections go to ready tasks anywhere in the cluster.
    #[default]
    Ingress,
    /// Bound on the task's own host by the executor.
    Host,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortConfig {
    pub protocol: Protocol,
    /// In the container.
    pub target: u16,
    /// On the hosts. In a spec, zero asks the allocator for one (ingress) or the engine (host); in
    /// [`crate::service::Service::ports`] it is always set.
    pub published: u16,
    pub mode: PublishMode,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndpointSpec {
    pub ports: Vec<PortConfig>,
}

impl EndpointSpec {
    /// Ports handed out when `published` is zero, as Swarm does.
    pub const DYNAMIC_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

    pub fn host_ports(&self) -> impl Iterator<Item = &PortConfig> {
        self.ports.iter().filter(|p| p.mode == PublishMode::Host)
    }

    pub fn ingress_ports(&self) -> impl Iterator<Item = &PortConfig> {
        self.ports.iter().filter(|p| p.mode == PublishMode::Ingress)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protocol::Tcp => out.write_str("tcp"),
        }
    }
}

impl fmt::Display for PublishMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishMode::Ingress => out.write_str("ingress"),
            PublishMode::Host => out.write_str("host"),
        }
    }
}
