//! The tasks' files: `tasks/<task id>.json`, each [`super::sealed`].
//!
//! The folder is synced once for a batch: after a power loss each task has either its old record or its new one.
//! Blocking throughout; no runtime is known here.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use muster_proto::id::TaskId;
use tracing::error;

use super::{
    Record,
    sealed::{Content, Damage, FORMAT, parse, replace, sync_folder},
};

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{path} cannot be {verb}; make sure that the folder exists, is writable and has space left")]
    Io {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} was written by another version of muster (format {found}, this one reads {FORMAT}); run that one")]
    Version { path: PathBuf, found: u32 },
    #[error("the store of assignments has ended")]
    Closed,
}

#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    pub(super) fn open(data_dir: &Path) -> Result<(Self, Vec<Record>), StoreError> {
        let dir = data_dir.join("tasks");
        fs::create_dir_all(&dir).map_err(failed("made", &dir))?;
        let files = Self { dir };
        let mut records = Vec::new();
        for entry in fs::read_dir(&files.dir).map_err(failed("read", &files.dir))? {
            let path = entry.map_err(failed("read", &files.dir))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => records.extend(read(&path)?),
                // Half a write, from before the daemon was killed: the record it was to replace still stands.
                Some("tmp") => remove(&path)?,
                _ => {}
            }
        }
        records.sort_by_key(|record| record.assignment.task_id);
        Ok((files, records))
    }

    /// Each task's record, or none to remove its file. Durable on return.
    pub(super) fn write(&self, changes: &[(TaskId, Option<Record>)]) -> Result<(), StoreError> {
        for (task, record) in changes {
            let path = self.dir.join(format!("{task}.json"));
            match record {
                Some(record) => replace(&path, record)?,
                None => remove(&path)?,
            }
        }
        sync_folder(&self.dir)
    }
}

/// Also one that is gone already.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { verb, path, source }
}

fn read(path: &Path) -> Result<Option<Record>, StoreError> {
    let bytes = fs::read(path).map_err(failed("read", path))?;
    let named = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
    match parse(&bytes) {
        Content::<Record>::Value(record) if named == Some(record.assignment.task_id) => Ok(Some(*record)),
        Content::Value(_) => set_aside(path, &Damage::Name),
        Content::Damaged(damage) => set_aside(path, &damage),
        Content::OtherFormat(found) => Err(StoreError::Version { path: path.to_owned(), found }),
    }
}

/// The task is then as one never heard of: the managers' first complete set says what becomes of its container.
fn set_aside(path: &Path, damage: &Damage) -> Result<Option<Record>, StoreError> {
    let aside = path.with_extension("json.damaged");
    fs::rename(path, &aside).map_err(failed("renamed", path))?;
    error!(file = %aside.display(), reason = %damage, cause = ?std::error::Error::source(damage),
        "a task's record was damaged and is set aside; its container runs on until a manager says what to do with it");
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::task::fixture;

    fn record(number: u128) -> Record {
        Record { assignment: fixture::assignment(number), status: None, image_health: None }
    }

    fn kept(dir: &Path, numbers: &[u128]) {
        let (files, _) = Files::open(dir).unwrap();
        let changes: Vec<_> = numbers.iter().map(|n| (TaskId::from_bits(*n), Some(record(*n)))).collect();
        files.write(&changes).unwrap();
    }

    fn file(dir: &Path, number: u128) -> PathBuf {
        dir.join("tasks").join(format!("{}.json", TaskId::from_bits(number)))
    }

    #[test]
    fn what_is_written_is_read_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        kept(dir.path(), &[1, 2]);
        let (files, records) = Files::open(dir.path()).unwrap();
        assert_eq!(records, [record(1), record(2)]);
        files.write(&[(TaskId::from_bits(1), None)]).unwrap();
        assert_eq!(Files::open(dir.path()).unwrap().1, [record(2)]);
    }

    #[test]
    fn any_damaged_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        kept(dir.path(), &[1]);
        let whole = fs::read(file(dir.path(), 1)).unwrap();
        assert!(matches!(parse::<Record>(&whole), Content::Value(_)));
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            assert!(matches!(parse::<Record>(&bytes), Content::Damaged(_)), "byte {at}");
        }
    }

    #[test]
    fn a_truncated_file_is_set_aside_and_stays_readable() {
        let dir = tempfile::tempdir().unwrap();
        kept(dir.path(), &[1, 2]);
        File::options().write(true).open(file(dir.path(), 1)).unwrap().set_len(40).unwrap();
        assert_eq!(Files::open(dir.path()).unwrap().1, [record(2)]);
        assert!(file(dir.path(), 1).with_extension("json.damaged").exists());
    }

    #[test]
    fn a_record_under_another_tasks_name_is_no_record() {
        let dir = tempfile::tempdir().unwrap();
        kept(dir.path(), &[1]);
        fs::rename(file(dir.path(), 1), file(dir.path(), 3)).unwrap();
        assert_eq!(Files::open(dir.path()).unwrap().1, []);
    }

    #[test]
    fn another_format_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        kept(dir.path(), &[]);
        let text = r#"{"format":2}"#;
        let body = format!("{text}\ncrc32 {:08x}\n", crc32fast::hash(text.as_bytes()));
        fs::write(file(dir.path(), 1), &body).unwrap();
        let error = Files::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Version { found: 2, .. }), "{error}");
        assert_eq!(fs::read_to_string(file(dir.path(), 1)).unwrap(), body);
    }
}
