//! The local socket: bound before anything else, so that a second daemon finds out at once.

use std::{
    fs,
    io::ErrorKind,
    os::unix::{fs::PermissionsExt, net::UnixStream as StdUnixStream},
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
    listener: std::os::unix::net::UnixListener,
}

pub(super) fn bind(path: &Path) -> anyhow::Result<Listener> {
    let shown = path.display();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| {
            format!("cannot create the folder of the socket {shown}; run as root, or name another with --socket")
        })?;
    }
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
    Ok(Listener { path: path.to_owned(), listener })
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
        drop(fs::remove_file(&self.path));
    }
}
