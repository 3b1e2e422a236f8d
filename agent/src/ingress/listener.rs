//! One published port: its socket, and the loop that accepts clients on it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::{Shared, relay};

/// Clients the kernel queues while all connection slots are taken.
const BACKLOG: u32 = 1024;

/// Pause after an accept that failed for want of descriptors or memory: they come back when a connection ends.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

pub(super) fn bind(ip: IpAddr, port: u16) -> io::Result<TcpListener> {
    let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Old connections in TIME_WAIT must not keep a restarted daemon from its ports.
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it: a client whose host vanished is noticed in the end.
    socket.set_keepalive(true)?;
    socket.bind(SocketAddr::new(ip, port))?;
    socket.listen(BACKLOG)
}

/// Why the port cannot be had, for the user.
pub(super) fn refusal(ip: IpAddr, port: u16, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AddrInUse {
        format!(
            "port {port} is already in use by another process on this host; stop that process or publish another port"
        )
    } else {
        format!("port {port} cannot be opened on {ip}: {error}; publish another port or fix the cause on this host")
    }
}

pub(super) async fn serve(listener: TcpListener, port: u16, shared: Arc<Shared>, closing: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = accept(&listener, &shared) => accepted,
        };
        match accepted {
            Ok((client, slot)) => {
                let shared = shared.clone();
                let tracker = shared.connections.clone();
                tracker.spawn(async move {
                    tokio::select! {
                        () = shared.abort.cancelled() => {}
                        () = relay::run(client, port, &shared) => {}
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(port, %error, "a client could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    shared: &Shared,
) -> io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // Above the limit clients wait in the kernel's queue, not in our memory.
    let slot = shared.slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (client, _) = listener.accept().await?;
    client.set_nodelay(true)?;
    Ok((client, slot))
}
