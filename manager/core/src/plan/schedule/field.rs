//! What a node's property is worth to a constraint or a preference.

use std::{borrow::Cow, net::SocketAddr};

use muster_proto::{node::Node, placement::NodeField};

/// None: the node has no such label, or has not described itself yet.
pub(super) fn value<'n>(field: &NodeField, node: &'n Node) -> Option<Cow<'n, str>> {
    let description = node.description.as_ref();
    match field {
        NodeField::Id => Some(Cow::Owned(node.id.to_string())),
        NodeField::Hostname => description.map(|d| Cow::Borrowed(d.hostname.as_str())),
        NodeField::Ip => ip(node).map(|ip| Cow::Owned(ip.to_string())),
        NodeField::Role => Some(Cow::Owned(node.spec.role.to_string())),
        NodeField::PlatformOs => description.map(|d| Cow::Borrowed(d.os.as_str())),
        NodeField::PlatformArch => description.map(|d| Cow::Borrowed(arch(&d.arch))),
        NodeField::Label(key) => node.spec.labels.get(key).map(|label| Cow::Borrowed(label.as_str())),
        NodeField::EngineLabel(key) => {
            description.and_then(|d| d.engine_labels.get(key)).map(|label| Cow::Borrowed(label.as_str()))
        }
    }
}

/// None where the node's address is a name.
pub(super) fn ip(node: &Node) -> Option<std::net::IpAddr> {
    node.address.parse::<SocketAddr>().ok().map(|address| address.ip())
}

/// Engines name one architecture after the kernel or after Go; users write either.
pub(super) fn arch(name: &str) -> &str {
    match name {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}
