//! Snapshots between two managers: a file as chunks on one side, chunks as a file on the other.

use std::{
    fmt,
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use crate::{
    outside::{Disk, FileIn, FileOut},
    snapshots::SnapshotFile,
};

/// One fits in a message of the transport; a few of them fill a connection.
const CHUNK_BYTES: u64 = 256 << 10;

/// The bytes of a snapshot, to be sent in order.
pub struct Chunks {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Opened at the first chunk. Once it is open it may be removed: a newer one has come.
    file: Option<Box<dyn FileIn>>,
}

impl fmt::Debug for Chunks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Chunks").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Chunks {
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Self { disk, path, file: None }
    }

    /// None after the last. What a call that was dropped had read is lost: begin anew.
    pub async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (files, path, file) = (self.disk.files(), self.path.clone(), self.file.take());
        let read = move || {
            let mut file = match file {
                Some(file) => file,
                None => files.open(&path)?,
            };
            let mut chunk = Vec::new();
            file.by_ref().take(CHUNK_BYTES).read_to_end(&mut chunk)?;
            Ok((file, chunk))
        };
        let (file, chunk) = self.disk.run(read).await?;
        self.file = Some(file);
        Ok(if chunk.is_empty() { None } else { Some(chunk) })
    }
}

/// A file that is being received. Removed when it is dropped, unless it has been made a snapshot of ours by then.
pub(crate) struct Incoming {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Box<dyn FileOut>>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Incoming").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Incoming {
    pub(super) fn new(disk: Arc<dyn Disk>, file: SnapshotFile) -> Self {
        Self { disk, path: file.path, file: None }
    }

    pub(crate) async fn write(&mut self, chunk: Vec<u8>) -> io::Result<()> {
        let (files, path, file) = (self.disk.files(), self.path.clone(), self.file.take());
        let write = move || {
            let mut file = match file {
                Some(file) => file,
                None => files.create(&path)?,
            };
            file.write_all(&chunk)?;
            Ok(file)
        };
        self.file = Some(self.disk.run(write).await?);
        Ok(())
    }

    /// The file with all that was written.
    pub(crate) fn file(&mut self) -> SnapshotFile {
        self.file = None;
        SnapshotFile { path: self.path.clone() }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.file = None;
        match self.disk.files().remove(&self.path) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), error = %why, "a snapshot that was not used stays behind");
            }
            // Gone: it has its own name now, or nothing was written.
            Ok(()) | Err(_) => {}
        }
    }
}
