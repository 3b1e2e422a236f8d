//! What is mounted into a container, on the wire and in the domain.

use super::{ConvertError, Result, field};
use crate::{
    mount::{Mount, MountSource},
    v1::{self, mount as wire},
};

impl From<&Mount> for v1::Mount {
    fn from(domain: &Mount) -> Self {
        let source = match &domain.source {
            MountSource::Volume { name } => wire::Source::Volume(wire::Volume { name: name.clone() }),
            MountSource::Bind { path } => wire::Source::Bind(wire::Bind { path: path.clone() }),
            MountSource::Tmpfs { size_bytes, mode } => {
                wire::Source::Tmpfs(wire::Tmpfs { size_bytes: *size_bytes, mode: *mode })
            }
        };
        Self { source: Some(source), target: domain.target.clone(), read_only: domain.read_only }
    }
}

impl TryFrom<v1::Mount> for Mount {
    type Error = ConvertError;
    fn try_from(wire: v1::Mount) -> Result<Self> {
        let source = match field::present("source", wire.source)? {
            wire::Source::Volume(volume) => MountSource::Volume { name: volume.name },
            wire::Source::Bind(bind) => MountSource::Bind { path: bind.path },
            wire::Source::Tmpfs(tmpfs) => MountSource::Tmpfs { size_bytes: tmpfs.size_bytes, mode: tmpfs.mode },
        };
        Ok(Self { source, target: wire.target, read_only: wire.read_only })
    }
}
