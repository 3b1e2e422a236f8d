//! The node meets every constraint. As in Swarm: letter case counts in label keys only, a label that is missing equals
//! nothing, and an address may be matched by a network (`node.ip==10.0.0.0/8`).

use std::net::IpAddr;

use muster_proto::{
    node::Node,
    placement::{Comparison, Constraint, NodeField},
    waiting::Refusal,
};

use super::Want;
use crate::plan::schedule::field;

pub(super) fn check(want: &Want<'_>, node: &Node) -> Result<(), Refusal> {
    let unmet = want.template.spec.placement.constraints.iter().find(|constraint| !is_met(constraint, node));
    unmet.map_or(Ok(()), |constraint| Err(Refusal::Constraint(constraint.clone())))
}

fn is_met(constraint: &Constraint, node: &Node) -> bool {
    let equal = match &constraint.field {
        NodeField::Ip => field::ip(node).is_some_and(|ip| is_within(ip, &constraint.value)),
        NodeField::PlatformArch => equals(constraint, node, field::arch(&constraint.value)),
        NodeField::Id
        | NodeField::Hostname
        | NodeField::Role
        | NodeField::PlatformOs
        | NodeField::Label(_)
        | NodeField::EngineLabel(_) => equals(constraint, node, &constraint.value),
    };
    match constraint.comparison {
        Comparison::Equal => equal,
        Comparison::NotEqual => !equal,
    }
}

fn equals(constraint: &Constraint, node: &Node, wanted: &str) -> bool {
    field::value(&constraint.field, node).is_some_and(|value| value.eq_ignore_ascii_case(wanted))
}

/// `wanted` is an address, or a network as address/prefix.
fn is_within(ip: IpAddr, wanted: &str) -> bool {
    let Some((network, prefix)) = wanted.split_once('/') else {
        return wanted.parse() == Ok(ip);
    };
    let (Ok(network), Ok(prefix)) = (network.parse::<IpAddr>(), prefix.parse::<u32>()) else {
        return false;
    };
    let (ip, network, width) = match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => (u128::from(ip.to_bits()), u128::from(network.to_bits()), 32),
        (IpAddr::V6(ip), IpAddr::V6(network)) => (ip.to_bits(), network.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    prefix <= width && (ip ^ network).checked_shr(width - prefix).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::schedule::fixture;

    fn constraint(field: NodeField, comparison: Comparison, value: &str) -> Constraint {
        Constraint { field, comparison, value: value.into() }
    }

    /// `==` and `!=` of the same value are each other's opposite on every node.
    fn equal(field: NodeField, value: &str) -> bool {
        let mut node = fixture::node(7);
        node.address = "10.1.2.3:7377".into();
        node.spec.labels.insert("Zone".into(), "North".into());
        let description = node.description.as_mut().expect("the fixture describes its nodes");
        description.hostname = "Web-7".into();
        description.engine_labels.insert("disk".into(), "ssd".into());
        let is = is_met(&constraint(field.clone(), Comparison::Equal, value), &node);
        assert_eq!(is, !is_met(&constraint(field, Comparison::NotEqual, value), &node), "{value}");
        is
    }

    #[test]
    fn every_field_is_compared_without_regard_to_case() {
        assert!(equal(NodeField::Id, &fixture::node(7).id.to_string().to_uppercase()));
        assert!(!equal(NodeField::Id, &fixture::node(8).id.to_string()));
        assert!(equal(NodeField::Hostname, "web-7"));
        assert!(!equal(NodeField::Hostname, "web"));
        assert!(equal(NodeField::Role, "Worker"));
        assert!(!equal(NodeField::Role, "manager"));
        assert!(equal(NodeField::PlatformOs, "Linux"));
        assert!(equal(NodeField::Label("Zone".into()), "north"));
        assert!(equal(NodeField::EngineLabel("disk".into()), "SSD"));
    }

    #[test]
    fn one_architecture_has_two_names() {
        assert!(equal(NodeField::PlatformArch, "x86_64"));
        assert!(equal(NodeField::PlatformArch, "amd64"));
        assert!(!equal(NodeField::PlatformArch, "arm64"));
    }

    #[test]
    fn a_missing_label_equals_nothing() {
        assert!(!equal(NodeField::Label("zone".into()), "north"), "keys differ in case");
        assert!(!equal(NodeField::Label("rack".into()), ""));
        assert!(!equal(NodeField::EngineLabel("rack".into()), "1"));
    }

    #[test]
    fn addresses_match_by_value_and_by_network() {
        for inside in ["10.1.2.3", "10.1.0.0/16", "10.1.2.3/32", "0.0.0.0/0"] {
            assert!(equal(NodeField::Ip, inside), "{inside}");
        }
        for outside in ["10.1.2.4", "10.2.0.0/16", "::/0", "10.1.2.3/33", "here"] {
            assert!(!equal(NodeField::Ip, outside), "{outside}");
        }
    }

    #[test]
    fn the_first_constraint_that_is_not_met_is_named() {
        let mut template = fixture::template();
        let met = constraint(NodeField::Role, Comparison::Equal, "worker");
        let unmet = constraint(NodeField::Label("zone".into()), Comparison::Equal, "a");
        template.spec.placement.constraints = vec![met, unmet.clone()];
        assert_eq!(check(&Want { template: &template }, &fixture::node(1)), Err(Refusal::Constraint(unmet)));
    }
}
