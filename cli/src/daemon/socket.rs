//! The local socket: bound before anything else, so that a second daemon finds out at once.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

/// How long clients that are still connected may hold up the daemon's stop.
pub(super) const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Whoever may open the socket may run anything as root: the owner and its group, as with Docker's.
const MODE: u32 = 0o660;

#[derive(Debug)]
pub(super) struct Listener {
    path: PathBuf,
    /// Which file it is, so that another daemon's socket under the same name is not removed with ours.
    inode: u64,
    listener: std::os::unix::net::UnixListener,
}

pub(super) fn bind(path: &Path) -> anyhow::Result<Listener> {
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unusable =
        || format!("cannot use the folder of the socket {shown}; run as root, or name another with --socket");
    fs::create_dir_all(folder).with_context(unusable)?;
    // One at a time: of two daemons that find the same old socket, the later would remove the earlier one's new one.
    let turn = File::open(folder).with_context(unusable)?;
    turn.lock().with_context(unusable)?;
    match StdUnixStream::connect(path) {
        Ok(_) => bail!("another daemon listens on {shown}; stop it, or name another socket with --socket"),
        // Left behind by a daemon that was killed.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).with_context(|| format!("cannot remove the old socket {shown}"))?;
        }
        Err(_) => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path)
        .with_context(|| format!("cannot listen on the socket {shown}; run as root, or name another with --socket"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(MODE)).with_context(|| format!("cannot protect {shown}"))?;
    listener.set_nonblocking(true).context("cannot use the socket without blocking")?;
    let inode = fs::metadata(path).with_context(|| format!("cannot look at the socket {shown}"))?.ino();
    Ok(Listener { path: path.to_owned(), inode, listener })
}

impl Listener {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Connections from now on.
    pub(super) fn incoming(&self) -> anyhow::Result<UnixListenerStream> {
        let listener = self.listener.try_clone().and_then(UnixListener::from_std);
        listener.map(UnixListenerStream::new).context("cannot take connections on the local socket")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A socket that is gone already is what is wanted.
        if fs::metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/muster.sock");
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("old")).unwrap());
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::rename(folder.path().join("old"), &path).unwrap();
        let first = bind(&path).unwrap();
        assert!(format!("{:#}", bind(&path).unwrap_err()).contains("another daemon listens on"));
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn only_its_own_socket_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("muster.sock");
        let first = bind(&path).unwrap();
        fs::rename(&path, folder.path().join("aside")).unwrap();
        let second = bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn of_many_that_come_at_once_to_an_old_socket_one_gets_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("muster.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let bound: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| bind(&path).ok())).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(bound.len(), 1);
    }
}
