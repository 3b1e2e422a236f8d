//! Files that are whole or not there, whatever moment the power fails.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::storage::error::OpenError;

pub(crate) const UNFINISHED: &str = "tmp";

pub(crate) fn unfinished(path: &Path) -> PathBuf {
    path.with_extension(UNFINISHED)
}

pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = unfinished(path);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    finish(&file, &temporary, path)
}

/// Gives a written file its name.
pub(crate) fn finish(file: &File, temporary: &Path, path: &Path) -> io::Result<()> {
    make_durable(file)?;
    fs::rename(temporary, path)?;
    path.parent().map_or(Ok(()), make_names_durable)
}

/// What is in the file.
pub(crate) fn make_durable(file: &File) -> io::Result<()> {
    #[cfg(test)]
    watched::before(&watched::Sync::File(file))?;
    file.sync_data()
}

/// Which files are in the folder.
pub(crate) fn make_names_durable(dir: &Path) -> io::Result<()> {
    #[cfg(test)]
    watched::before(&watched::Sync::Folder(dir))?;
    File::open(dir)?.sync_all()
}

/// What a store writes first, and more.
const PROBE_BYTES: usize = 64 << 10;

/// Reading a folder says nothing about writing to it, nor about room, and the store would find out too late.
pub(crate) fn check_writable(dir: &Path) -> io::Result<()> {
    let probe = dir.join("writable.tmp");
    let written = File::create(&probe).and_then(|mut file| file.write_all(&[0; PROBE_BYTES]));
    match fs::remove_file(probe) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => written.and(Err(why)),
        Ok(()) | Err(_) => written,
    }
}

/// A file that must be there.
pub(super) fn present(dir: &Path, name: &str, what: &str) -> Result<File, OpenError> {
    File::options().read(true).write(true).open(dir.join(name)).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => OpenError::damaged(dir, format!("{what} is gone")),
        _ => OpenError::Unusable { path: dir.to_owned(), source: why },
    })
}

/// Lets a test see each sync of its thread, and fail it.
#[cfg(test)]
pub(crate) mod watched {
    use std::{cell::RefCell, fs::File, io, path::Path};

    #[derive(Debug)]
    pub(crate) enum Sync<'a> {
        File(&'a File),
        Folder(&'a Path),
    }

    type Watch = Box<dyn FnMut(&Sync<'_>) -> io::Result<()>>;

    thread_local! {
        static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
    }

    pub(crate) fn watch(watch: impl FnMut(&Sync<'_>) -> io::Result<()> + 'static) {
        WATCH.set(Some(Box::new(watch)));
    }

    pub(super) fn before(sync: &Sync<'_>) -> io::Result<()> {
        WATCH.with_borrow_mut(|watch| watch.as_mut().map_or(Ok(()), |watch| watch(sync)))
    }
}
