//! What is mounted into a container.

use std::collections::BTreeSet;

use super::{Invalid, Result, count};
use crate::{
    mount::{Mount, MountSource},
    parse::Quoted,
};

/// Each is a mount for the kernel to make before the container can start.
const MOUNTS_MAX: usize = 128;
const PATH_BYTES_MAX: usize = 4095;
const VOLUME_BYTES_MAX: usize = 255;
const MODE_MAX: u32 = 0o7777;
const FIELD: &str = "task.container.mounts";

pub(super) fn check(mounts: &[Mount]) -> Result {
    count(FIELD, "mounts", mounts.len(), MOUNTS_MAX)?;
    let mut targets = BTreeSet::new();
    for mount in mounts {
        let target = plain(&mount.target);
        if !is_path(&mount.target) || target.is_empty() {
            return Err(Invalid::new(
                FIELD,
                format!("nothing can be mounted at {} in the container", Quoted(&mount.target)),
                "use an absolute path without .. that is not / itself",
            ));
        }
        if targets.contains(&target) {
            return Err(Invalid::new(
                FIELD,
                format!("two mounts have the target {}", Quoted(&target)),
                "give each a path of its own",
            ));
        }
        targets.insert(target);
        source(&mount.source)?;
    }
    Ok(())
}

/// Without what changes nothing: a slash too many, a point. Nothing is left of the root.
fn plain(path: &str) -> String {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).map(|part| format!("/{part}")).collect()
}

fn source(source: &MountSource) -> Result {
    match source {
        MountSource::Volume { name } if !is_volume_name(name) => Err(Invalid::new(
            FIELD,
            format!("a volume cannot be called {}", Quoted(name)),
            "use 2 to 255 letters, digits, _, . and -, starting with a letter or digit",
        )),
        MountSource::Bind { path } if !is_path(path) => Err(Invalid::new(
            FIELD,
            format!("{} is not a path of the host", Quoted(path)),
            "use an absolute path without .., or the type volume for a name",
        )),
        MountSource::Tmpfs { mode: Some(mode), .. } if *mode > MODE_MAX => {
            Err(Invalid::new(FIELD, format!("{mode:o} is not a mode of a folder"), "use an octal mode such as 1777"))
        }
        MountSource::Tmpfs { size_bytes, .. } if *size_bytes > crate::resources::MEMORY_BYTES_MAX => {
            Err(Invalid::new(FIELD, "a tmpfs is larger than any machine's memory", "make it smaller"))
        }
        MountSource::Volume { .. } | MountSource::Bind { .. } | MountSource::Tmpfs { .. } => Ok(()),
    }
}

fn is_path(path: &str) -> bool {
    let is_inside = path.split('/').all(|part| part != "..");
    path.starts_with('/') && path.len() <= PATH_BYTES_MAX && is_inside && !path.contains('\0')
}

fn is_volume_name(name: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric();
    (2..=VOLUME_BYTES_MAX).contains(&name.len())
        && name.bytes().next().is_some_and(is_word)
        && name.bytes().all(|b| is_word(b) || matches!(b, b'_' | b'.' | b'-'))
}
