//! Resources, limits and ulimits.

use super::{ConvertError, Result, field};
use crate::{
    container::Ulimit,
    resources::{Limits, MEMORY_BYTES_MAX, NANO_CPUS_MAX, Resources},
    v1,
};

impl From<&Resources> for v1::Resources {
    fn from(domain: &Resources) -> Self {
        Self { nano_cpus: domain.nano_cpus, memory_bytes: domain.memory_bytes }
    }
}

impl TryFrom<v1::Resources> for Resources {
    type Error = ConvertError;
    fn try_from(wire: v1::Resources) -> Result<Self> {
        Ok(Self {
            nano_cpus: field::at_most("nano_cpus", wire.nano_cpus, NANO_CPUS_MAX)?,
            memory_bytes: field::at_most("memory_bytes", wire.memory_bytes, MEMORY_BYTES_MAX)?,
        })
    }
}

impl From<&Limits> for v1::Limits {
    fn from(domain: &Limits) -> Self {
        Self { nano_cpus: domain.nano_cpus, memory_bytes: domain.memory_bytes, pids: domain.pids }
    }
}

impl TryFrom<v1::Limits> for Limits {
    type Error = ConvertError;
    fn try_from(wire: v1::Limits) -> Result<Self> {
        Ok(Self {
            nano_cpus: field::at_most("nano_cpus", wire.nano_cpus, NANO_CPUS_MAX)?,
            memory_bytes: field::at_most("memory_bytes", wire.memory_bytes, MEMORY_BYTES_MAX)?,
            pids: wire.pids,
        })
    }
}

impl From<&Ulimit> for v1::Ulimit {
    fn from(domain: &Ulimit) -> Self {
        Self { name: domain.name.clone(), soft: domain.soft, hard: domain.hard }
    }
}

impl From<v1::Ulimit> for Ulimit {
    fn from(wire: v1::Ulimit) -> Self {
        Self { name: wire.name, soft: wire.soft, hard: wire.hard }
    }
}
