//! The lease as it is on disk, for the guard and for the next daemon: until when it holds, and when this agent was last
//! awake. One short line, overwritten in place: no journal and no free space are needed, and half of it is no stamp.
//! It is not synced: it need not outlast the host's kernel, as containers do not.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

const FILE: &str = "lease";
const HEAD: &str = "muster-lease-1";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) boot_id: String,
    /// Since boot.
    pub(crate) until: Duration,
    /// Since boot.
    pub(crate) awake_at: Duration,
}

pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Stamp {
    fn line(&self) -> String {
        format!("{HEAD} {} {:020} {:020}\n", self.boot_id, millis(self.until), millis(self.awake_at))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let (head, boot_id) = (words.next()?, words.next()?.to_owned());
        let mut time = || words.next()?.parse().ok().map(Duration::from_millis);
        let stamp = Self { boot_id, until: time()?, awake_at: time()? };
        (head == HEAD && words.next().is_none()).then_some(stamp)
    }

    /// None: there is none, or none that can be read.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(path(data_dir)).ok()?)
    }

    /// Blocking.
    pub(crate) fn write(&self, data_dir: &Path) -> io::Result<()> {
        let file: File = OpenOptions::new().write(true).create(true).truncate(false).open(path(data_dir))?;
        file.write_all_at(self.line().as_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_written_and_half_of_it_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Stamp::read(dir.path()), None);
        let at = Duration::from_millis;
        let stamp =
            |until, awake_at| Stamp { boot_id: crate::clock::boot_id(), until: at(until), awake_at: at(awake_at) };
        for stamp in [stamp(u64::MAX, 1), stamp(5, u64::MAX)] {
            stamp.write(dir.path()).unwrap();
            assert_eq!(Stamp::read(dir.path()), Some(stamp.clone()));
            let line = stamp.line();
            (0..line.len()).for_each(|end| assert_eq!(Stamp::parse(&line[..end]), None));
        }
    }
}
