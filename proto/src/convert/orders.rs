//! What a node should be.

use super::{ConvertError, Result, field};
use crate::{node::NodeOrders, v1};

impl From<&NodeOrders> for v1::NodeOrders {
    fn from(domain: &NodeOrders) -> Self {
        Self {
            role: v1::Role::from(domain.role).into(),
            roots_digest: domain.roots_digest.clone(),
            managers: domain.managers.clone(),
            show_certificate: domain.show_certificate,
            removed: domain.removed.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<v1::NodeOrders> for NodeOrders {
    type Error = ConvertError;
    fn try_from(wire: v1::NodeOrders) -> Result<Self> {
        Ok(Self {
            role: field::choice::<v1::Role, _>("role", wire.role)?,
            roots_digest: wire.roots_digest,
            managers: wire.managers,
            show_certificate: wire.show_certificate,
            removed: wire.removed.iter().map(|id| field::id("removed", id)).collect::<Result<_>>()?,
        })
    }
}
