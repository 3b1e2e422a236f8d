//! What is mounted into a container.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MountSource {
    /// A named volume of the engine; made on first use.
    Volume { name: String },
    /// A path of the host; it must exist.
    Bind { path: String },
    /// Memory; `size_bytes` zero: the engine's default.
    Tmpfs { size_bytes: u64, mode: Option<u32> },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mount {
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: String,
    pub read_only: bool,
}

impl Mount {
    /// Two tasks of one slot must not share it at the same time.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        match self.source {
            MountSource::Volume { .. } => !self.read_only,
            MountSource::Bind { .. } | MountSource::Tmpfs { .. } => false,
        }
    }
}
