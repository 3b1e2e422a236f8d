//! Mounts, in the form of `docker service create --mount`.

use super::{ParseError, memory, options::Options};
use crate::mount::{Mount, MountSource};

const ACCEPTED: &str = "write it like type=volume,source=data,target=/data, type=bind,source=/srv,target=/srv,readonly \
                        or type=tmpfs,target=/tmp,tmpfs-size=64m,tmpfs-mode=1777";

/// Permission bits with the sticky, setgid and setuid bits.
const MODE_MAX: u32 = 0o7777;

/// `type=volume,source=data,target=/data,readonly`; without a type it is a volume.
pub fn mount(text: &str) -> Result<Mount, ParseError> {
    let mut options = Options::read("mount", text, ACCEPTED)?;
    let kind = options.take(&["type"])?.unwrap_or("volume").to_ascii_lowercase();
    let source = options.take(&["source", "src"])?;
    let target = options.take(&["target", "dst", "destination"])?;
    let read_only = options.take_flag(&["readonly", "ro"])?;
    let Some(target) = target else {
        return Err(options.refuse("target is missing"));
    };
    let source = match (kind.as_str(), source) {
        ("volume", Some(name)) => MountSource::Volume { name: name.to_owned() },
        ("volume", None) => {
            return Err(options.refuse("source is missing: a volume without a name is lost with its task"));
        }
        ("bind", Some(path)) => MountSource::Bind { path: path.to_owned() },
        ("bind", None) => return Err(options.refuse("source is missing: the host's path")),
        ("tmpfs", None) => tmpfs(&mut options)?,
        ("tmpfs", Some(_)) => return Err(options.refuse("a tmpfs has no source")),
        (other, _) => {
            return Err(options.refuse(format!("its type {} is none of volume, bind and tmpfs", super::Quoted(other))));
        }
    };
    options.finish()?;
    Ok(Mount { source, target: target.to_owned(), read_only })
}

fn tmpfs(options: &mut Options<'_>) -> Result<MountSource, ParseError> {
    let size_bytes = match options.take(&["tmpfs-size"])? {
        Some(size) => memory(size).map_err(|error| options.refuse(format!("in tmpfs-size, {}", error.wrong)))?,
        None => 0,
    };
    let mode = match options.take(&["tmpfs-mode"])? {
        Some(mode) => {
            let octal = mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
            let bits = octal.then(|| u32::from_str_radix(mode, 8).ok()).flatten().filter(|bits| *bits <= MODE_MAX);
            Some(bits.ok_or_else(|| options.refuse("tmpfs-mode is not an octal mode such as 1777"))?)
        }
        None => None,
    };
    Ok(MountSource::Tmpfs { size_bytes, mode })
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn accepted() {
        let volume = |read_only| Mount {
            source: MountSource::Volume { name: "data".into() },
            target: "/data".into(),
            read_only,
        };
        for (text, expected) in [
            ("type=volume,source=data,target=/data", volume(false)),
            ("src=data,dst=/data,ro", volume(true)),
            ("source=data,destination=/data,readonly=true", volume(true)),
            ("type=volume,source=data,target=/data,readonly=0", volume(false)),
        ] {
            assert_eq!(mount(text), Ok(expected), "{text}");
        }
        let bind = Mount { source: MountSource::Bind { path: "/srv".into() }, target: "/a=b".into(), read_only: false };
        assert_eq!(mount("type=bind,src=/srv,dst=/a=b"), Ok(bind));
        let memory = MountSource::Tmpfs { size_bytes: 64 << 20, mode: Some(0o1777) };
        let tmpfs = Mount { source: memory, target: "/tmp".into(), read_only: false };
        assert_eq!(mount("type=tmpfs,target=/tmp,tmpfs-size=64m,tmpfs-mode=1777"), Ok(tmpfs));
    }

    #[test]
    fn refused() {
        check::refused(
            mount,
            &["", "data:/data", "type=volume,target=/data", "type=bind,target=/d", "type=npipe,source=a,target=/d"],
        );
        check::refused(
            mount,
            &[
                "type=tmpfs,source=a,target=/d",
                "type=tmpfs,target=/d,tmpfs-size=big",
                "type=tmpfs,target=/d,tmpfs-mode=9",
                "type=tmpfs,target=/d,tmpfs-mode=17777",
                "type=volume,source=a,target=/d,tmpfs-size=1m",
                "type=volume,source=a,target=/d,volume-nocopy",
                "type=volume,source=a,target=/d,readonly=perhaps",
                "type=volume,source=a,src=b,target=/d",
                "type=volume,source=,target=/d",
                "type=volume,source=a",
            ],
        );
        let error = mount("type=volume,source=a,target=/d,volume-driver=x").expect_err("an unknown field");
        assert_eq!(error.wrong, r#""volume-driver" is not among its fields"#);
    }
}
