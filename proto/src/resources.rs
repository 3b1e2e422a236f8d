//! What a task may use, what is set aside for it, and what a node has.

use serde::{Deserialize, Serialize};

/// A billionth of a core: the unit of the Docker Engine API.
pub const NANO_CPUS_PER_CORE: u64 = 1_000_000_000;

/// More cores than any machine has, so that the sums over all tasks of a node stay far from overflow.
pub const NANO_CPUS_MAX: u64 = 1_000_000 * NANO_CPUS_PER_CORE;

/// A pebibyte: more memory than any machine has, for the same reason.
pub const MEMORY_BYTES_MAX: u64 = 1 << 50;

/// The kernel's own bound on process ids.
pub const PIDS_MAX: u64 = 1 << 22;

/// Ceilings. Zero means none was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    pub nano_cpus: u64,
    pub memory_bytes: u64,
    pub pids: u64,
}

/// What the scheduler sets aside on the node, and what a node has to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resources {
    pub nano_cpus: u64,
    pub memory_bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceRequirements {
    pub limits: Limits,
    pub reservations: Resources,
}
