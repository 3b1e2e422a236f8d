//! The data folder: made on first use, marked with its format, held by one daemon at a time.
//!
//! A folder that is not ours, of another format, or in use is refused; nothing in it is changed then.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// Counted up when an older muster could misread the folder.
const FORMAT: &str = "muster data folder, format 1\n";
const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";

#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl DataDir {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let unwritable =
            || format!("cannot write to the data folder {shown}; run as root, or name another with --data-dir");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(unwritable)?;
        check_format(path)?;
        let lock = File::create(path.join(LOCK_FILE)).with_context(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another daemon uses the data folder {shown}; stop it, or name another folder with --data-dir")
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(unwritable),
        }
        if !path.join(FORMAT_FILE).exists() {
            super::record::write_durably(&path.join(FORMAT_FILE), FORMAT.as_bytes(), 0o600).with_context(unwritable)?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn manager(&self) -> PathBuf {
        self.path.join("manager")
    }

    pub(super) fn agent(&self) -> PathBuf {
        self.path.join("agent")
    }

    pub(super) fn member(&self) -> PathBuf {
        self.path.join("member")
    }
}

fn check_format(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    match fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(format) if format == FORMAT => Ok(()),
        Ok(format) => bail!(
            "the data folder {shown} says it is {:?}, and this muster reads {:?}; run the version that wrote it, or name \
             another folder with --data-dir",
            format.trim_end(),
            FORMAT.trim_end()
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let foreign = fs::read_dir(path)
                .with_context(|| format!("cannot read the data folder {shown}"))?
                .filter_map(Result::ok)
                .find(|entry| entry.file_name() != LOCK_FILE && entry.file_name() != "lost+found");
            match foreign {
                None => Ok(()),
                Some(entry) => bail!(
                    "the folder {shown} is not a data folder of muster and is not empty (it holds {:?}); name an empty \
                     or a new one with --data-dir",
                    entry.file_name()
                ),
            }
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the data folder {shown}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        format!("{:#}", DataDir::open(path).expect_err("refused"))
    }

    #[test]
    fn a_new_folder_is_made_and_opened_again() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        drop(DataDir::open(&path).unwrap());
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn one_daemon_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let _held = DataDir::open(folder.path()).unwrap();
        assert!(refusal(folder.path()).contains("another daemon uses"));
    }

    #[test]
    fn a_foreign_folder_and_another_format_are_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letters.txt"), "dear").unwrap();
        assert!(refusal(folder.path()).contains("is not a data folder of muster"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        fs::write(folder.path().join(FORMAT_FILE), "muster data folder, format 9\n").unwrap();
        assert!(refusal(folder.path()).contains("run the version that wrote it"));
    }
}
