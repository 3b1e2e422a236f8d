//! Placement travels as the user wrote it, so that every client shows the same words.

use super::{ConvertError, Result, field};
use crate::{parse, placement::Placement, v1};

impl From<&Placement> for v1::Placement {
    fn from(domain: &Placement) -> Self {
        Self {
            constraints: domain.constraints.iter().map(ToString::to_string).collect(),
            preferences: domain.preferences.iter().map(ToString::to_string).collect(),
            max_replicas_per_node: domain.max_replicas_per_node,
        }
    }
}

impl TryFrom<v1::Placement> for Placement {
    type Error = ConvertError;
    fn try_from(wire: v1::Placement) -> Result<Self> {
        Ok(Self {
            constraints: field::parsed("constraints", &wire.constraints, parse::constraint)?,
            preferences: field::parsed("preferences", &wire.preferences, parse::preference)?,
            max_replicas_per_node: wire.max_replicas_per_node,
        })
    }
}
