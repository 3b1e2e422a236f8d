//! Where tasks may and should run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A property of a node that constraints and preferences can name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NodeField {
    Id,
    Hostname,
    Ip,
    Role,
    PlatformOs,
    PlatformArch,
    /// `node.labels.KEY`: set by the operator.
    Label(String),
    /// `engine.labels.KEY`: set in the engine's own configuration.
    EngineLabel(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Comparison {
    Equal,
    NotEqual,
}

/// `node.labels.zone==a`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Constraint {
    pub field: NodeField,
    pub comparison: Comparison,
    pub value: String,
}

/// `spread=node.labels.zone`: as even as can be over the values of the field, the first preference first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SpreadOver(pub NodeField);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Placement {
    pub constraints: Vec<Constraint>,
    pub preferences: Vec<SpreadOver>,
    /// None: without limit.
    pub max_replicas_per_node: Option<u32>,
}

impl fmt::Display for NodeField {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeField::Id => out.write_str("node.id"),
            NodeField::Hostname => out.write_str("node.hostname"),
            NodeField::Ip => out.write_str("node.ip"),
            NodeField::Role => out.write_str("node.role"),
            NodeField::PlatformOs => out.write_str("node.platform.os"),
            NodeField::PlatformArch => out.write_str("node.platform.arch"),
            NodeField::Label(key) => write!(out, "node.labels.{key}"),
            NodeField::EngineLabel(key) => write!(out, "engine.labels.{key}"),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.comparison {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
        };
        write!(out, "{}{sign}{}", self.field, self.value)
    }
}

impl fmt::Display for SpreadOver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "spread={}", self.0)
    }
}
