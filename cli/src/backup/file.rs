//! The file of a backup as a whole: there is all of it on the disk, or none.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::error::Error;

/// What to do with a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    Keep,
    Replace,
}

/// Under a name of its own until it is whole. Dropped before that, nothing is left of it.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    existing: Existing,
    to: BufWriter<NamedTempFile>,
}

impl NewFile {
    /// Only the user may read it.
    pub(super) fn create(path: &Path, existing: Existing) -> Result<Self, Error> {
        match path.metadata() {
            Ok(found) if found.is_dir() => {
                return Err(Error::Failed(format!("{} is a folder; name a file in it", path.display())));
            }
            Ok(_) if existing == Existing::Keep => return Err(is_there(path)),
            Ok(_) | Err(_) => {}
        }
        let to = tempfile::Builder::new()
            .prefix(".muster-backup-")
            .suffix(".partial")
            .tempfile_in(folder(path))
            .map_err(|error| unwritable(path, &error))?;
        Ok(Self { path: path.to_owned(), existing, to: BufWriter::new(to) })
    }

    pub(super) fn writer(&mut self) -> &mut impl io::Write {
        &mut self.to
    }

    pub(super) fn unwritable(&self, error: &io::Error) -> Error {
        unwritable(&self.path, error)
    }

    /// On the disk, under its name, and the name too. Returns its length.
    pub(super) fn finish(self) -> Result<u64, Error> {
        let Self { path, existing, to } = self;
        let failed = |error: io::Error| unwritable(&path, &error);
        let whole = to.into_inner().map_err(|error| failed(error.into_error()))?;
        whole.as_file().sync_all().map_err(failed)?;
        let length = whole.as_file().metadata().map_err(failed)?.len();
        match existing {
            Existing::Replace => whole.persist(&path).map_err(|error| failed(error.error))?,
            Existing::Keep => whole.persist_noclobber(&path).map_err(|error| match error.error.kind() {
                io::ErrorKind::AlreadyExists => is_there(&path),
                _ => failed(error.error),
            })?,
        };
        File::open(folder(&path)).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(length)
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn is_there(path: &Path) -> Error {
    Error::Failed(format!(
        "{} exists already and is kept; name another file, or replace it with --force",
        path.display()
    ))
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    let folder = folder(path).display();
    let next = match error.kind() {
        io::ErrorKind::NotFound => format!("make the folder {folder} first, or name another"),
        io::ErrorKind::NotADirectory => format!("{folder} is no folder, name another"),
        io::ErrorKind::PermissionDenied => {
            format!("run the command as a user who may write to {folder}, or name another")
        }
        io::ErrorKind::ReadOnlyFilesystem => "name a place that can be written to".to_owned(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "nothing was left there, name a place with room".to_owned()
        }
        _ => "nothing was left there, look at the disk or name another place".to_owned(),
    };
    Error::Failed(format!("cannot write {}: {error}; {next}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, os::unix::fs::PermissionsExt};

    use super::*;

    fn write(path: &Path, existing: Existing, text: &str) -> Result<u64, Error> {
        let mut file = NewFile::create(path, existing)?;
        file.writer().write_all(text.as_bytes()).unwrap();
        file.finish()
    }

    #[test]
    fn a_file_is_whole_and_for_its_user_alone_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.backup");
        assert_eq!(write(&path, Existing::Keep, "one").unwrap(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = write(&path, Existing::Keep, "two").unwrap_err().to_string();
        assert!(refused.contains("exists already") && refused.contains("--force"), "{refused}");
        write(&path, Existing::Replace, "three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        drop(NewFile::create(&path, Existing::Replace).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what was given up leaves nothing");
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.backup");
        let file = NewFile::create(&path, Existing::Keep).unwrap();
        fs::write(&path, "another's").unwrap();
        assert!(file.finish().unwrap_err().to_string().contains("exists already"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
    }

    #[test]
    fn where_nothing_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| NewFile::create(path, Existing::Keep).unwrap_err().to_string();
        assert!(said(folder.path()).contains("is a folder"));
        let none = said(&folder.path().join("none/a.backup"));
        assert!(none.starts_with("cannot write ") && none.contains("make the folder"), "{none}");
        fs::write(folder.path().join("file"), "no folder").unwrap();
        let file = said(&folder.path().join("file/a.backup"));
        assert!(file.contains("is no folder, name another"), "{file}");
        for (kind, next) in [
            (io::ErrorKind::PermissionDenied, "; run the command as a user who may write to /backup, or name another"),
            (io::ErrorKind::StorageFull, "; nothing was left there, name a place with room"),
        ] {
            let said = unwritable(Path::new("/backup/a"), &kind.into()).to_string();
            assert!(said.ends_with(next), "{said}");
        }
    }
}
