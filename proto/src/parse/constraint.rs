//! Where tasks may and should run, in Swarm's words.

use std::net::IpAddr;

use super::{ParseError, Quoted};
use crate::placement::{Comparison, Constraint, NodeField, SpreadOver};

const FIELDS: &str = "node.id, node.hostname, node.ip, node.role, node.platform.os, node.platform.arch, \
                      node.labels.KEY and engine.labels.KEY";
const ACCEPTED: &str = "write it like node.labels.zone==a or node.hostname!=db1";

/// Swarm's own bound on what a label may be called.
const LABEL_BYTES_MAX: usize = 253;

/// `node.labels.zone==a`, `node.role != manager`.
pub fn constraint(text: &str) -> Result<Constraint, ParseError> {
    let refuse = |wrong: String| ParseError::new("constraint", text, wrong, ACCEPTED);
    let signs = [("==", Comparison::Equal), ("!=", Comparison::NotEqual)];
    let first = signs.iter().filter_map(|(sign, comparison)| Some((text.find(sign)?, *comparison))).min_by_key(|s| s.0);
    let Some((at, comparison)) = first else {
        return Err(refuse("it has neither == nor !=".to_owned()));
    };
    let (field, value) = (text[..at].trim(), text[at + 2..].trim());
    let field = read_field(field).map_err(refuse)?;
    if value.is_empty() {
        return Err(refuse("it has no value to compare with".to_owned()));
    }
    if value.chars().any(char::is_control) {
        return Err(refuse("its value has control characters".to_owned()));
    }
    let known = match field {
        NodeField::Role => ["worker", "manager"].iter().any(|role| role.eq_ignore_ascii_case(value)),
        NodeField::Ip => is_network(value),
        NodeField::Id
        | NodeField::Hostname
        | NodeField::PlatformOs
        | NodeField::PlatformArch
        | NodeField::Label(_)
        | NodeField::EngineLabel(_) => true,
    };
    if !known {
        return Err(refuse(format!("no {field} can be {}", Quoted(value))));
    }
    Ok(Constraint { field, comparison, value: value.to_owned() })
}

/// `spread=node.labels.zone`.
pub fn preference(text: &str) -> Result<SpreadOver, ParseError> {
    let refuse =
        |wrong: String| ParseError::new("placement preference", text, wrong, "write it like spread=node.labels.zone");
    match text.split_once('=') {
        Some((strategy, field)) if strategy.trim().eq_ignore_ascii_case("spread") => {
            read_field(field.trim()).map(SpreadOver).map_err(refuse)
        }
        Some((strategy, _)) => Err(refuse(format!("{} is no strategy", Quoted(strategy)))),
        None => Err(refuse("it names no strategy".to_owned())),
    }
}

/// `node.labels.zone`.
pub fn node_field(text: &str) -> Result<NodeField, ParseError> {
    read_field(text).map_err(|wrong| ParseError::new("node field", text, wrong, "write it like node.labels.zone"))
}

/// Names are read in any case, as Swarm does; a label's key keeps its own.
fn read_field(text: &str) -> Result<NodeField, String> {
    let lower = text.to_ascii_lowercase();
    let label = |prefix: &str| {
        let key = lower.starts_with(prefix).then(|| &text[prefix.len()..])?;
        let is_key_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/');
        (!key.is_empty() && key.len() <= LABEL_BYTES_MAX && key.bytes().all(is_key_byte)).then(|| key.to_owned())
    };
    match lower.as_str() {
        "node.id" => Ok(NodeField::Id),
        "node.hostname" => Ok(NodeField::Hostname),
        "node.ip" => Ok(NodeField::Ip),
        "node.role" => Ok(NodeField::Role),
        "node.platform.os" => Ok(NodeField::PlatformOs),
        "node.platform.arch" => Ok(NodeField::PlatformArch),
        _ => label("node.labels.")
            .map(NodeField::Label)
            .or_else(|| label("engine.labels.").map(NodeField::EngineLabel))
            .ok_or_else(|| format!("{} is none of {FIELDS}", Quoted(text))),
    }
}

/// An address, or a network in CIDR notation.
fn is_network(value: &str) -> bool {
    let (address, prefix) = match value.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (value, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let prefix_max = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| super::port::digits(prefix).is_some_and(|bits| bits <= prefix_max))
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn accepted_and_shown_again() {
        for (text, expected) in [
            ("node.labels.zone==a", "node.labels.zone==a"),
            ("node.labels.Zone == A b", "node.labels.Zone==A b"),
            ("node.hostname!=db-1", "node.hostname!=db-1"),
            ("NODE.ROLE==Manager", "node.role==Manager"),
            ("node.id==abc", "node.id==abc"),
            ("node.ip==10.0.0.0/8", "node.ip==10.0.0.0/8"),
            ("node.ip!=fe80::1", "node.ip!=fe80::1"),
            ("node.platform.os==linux", "node.platform.os==linux"),
            ("node.platform.arch==x86_64", "node.platform.arch==x86_64"),
            ("engine.labels.com.example/disk==ssd", "engine.labels.com.example/disk==ssd"),
            ("node.labels.a==b!=c", "node.labels.a==b!=c"),
            ("node.labels.a!===", "node.labels.a!==="),
        ] {
            let read = constraint(text).expect(text);
            assert_eq!(read.to_string(), expected);
            assert_eq!(constraint(expected), Ok(read), "{text}");
        }
    }

    #[test]
    fn refused() {
        check::refused(
            constraint,
            &["", "==", "node.id=a", "node.id==", "node.labels==a", "node.labels.==a", "node.color==red", "a==b"],
        );
        check::refused(
            constraint,
            &["node.role==boss", "node.ip==here", "node.ip==1.2.3.4/33", "node.labels.a b==c", "node.id==a\nb"],
        );
        check::says(
            constraint,
            "node.zone==a",
            "invalid constraint \"node.zone==a\": \"node.zone\" is none of node.id, node.hostname, node.ip, node.role, \
             node.platform.os, node.platform.arch, node.labels.KEY and engine.labels.KEY; write it like \
             node.labels.zone==a or node.hostname!=db1",
        );
    }

    #[test]
    fn preferences() {
        assert_eq!(
            preference("spread=node.labels.zone").map(|p| p.to_string()).as_deref(),
            Ok("spread=node.labels.zone")
        );
        assert_eq!(preference("Spread = engine.labels.rack"), Ok(SpreadOver(NodeField::EngineLabel("rack".into()))));
        check::refused(preference, &["", "spread", "spread=", "pack=node.labels.zone", "node.labels.zone"]);
    }
}
