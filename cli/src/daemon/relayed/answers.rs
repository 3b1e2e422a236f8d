//! What the kernel knows of a connection's other end: `TCP_INFO`, for which the libraries at hand have no safe call.

use std::{io, os::fd::AsRawFd};

use nix::libc;
use tokio::net::TcpStream;

/// Of `struct tcp_info`, as far as it is needed; the kernel only ever adds to its end.
const BYTES: usize = 148;
const RETRANSMITS_AT: usize = 2;
const PROBES_AT: usize = 3;
const UNACKED_AT: usize = 24;
const NOTSENT_AT: usize = 144;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// How often the same was sent without an answer: bytes, or the question whether there is room for more.
    pub(super) repeated: u8,
    /// Bytes were sent and not acknowledged, or not sent yet.
    pub(super) is_something_waiting: bool,
}

impl Answers {
    pub(super) fn of(socket: &TcpStream) -> io::Result<Self> {
        info(socket).map(|info| Self::read(&info))
    }

    fn read(info: &[u8; BYTES]) -> Self {
        let is_zero = |at: usize| info[at..at + 4].iter().all(|byte| *byte == 0);
        Self {
            repeated: info[RETRANSMITS_AT].max(info[PROBES_AT]),
            is_something_waiting: !(is_zero(UNACKED_AT) && is_zero(NOTSENT_AT)),
        }
    }
}

/// What an older kernel does not know stays zero.
#[allow(unsafe_code)]
fn info(socket: &TcpStream) -> io::Result<[u8; BYTES]> {
    let mut info = [0; BYTES];
    let mut length = libc::socklen_t::try_from(BYTES).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open as long as the socket is borrowed, and the kernel writes at most `length` bytes.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if answer == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Until the kernel says so; it needs a moment for what is on its way.
    async fn until(socket: &TcpStream, is_something_waiting: bool) {
        let seen = async {
            while Answers::of(socket).expect("the kernel answers") != (Answers { repeated: 0, is_something_waiting }) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), seen).await.expect("seen in time");
    }

    #[tokio::test]
    async fn bytes_that_the_other_end_takes_no_room_for_wait() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut here = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut there, _) = listener.accept().await.unwrap();
        until(&here, false).await;
        let mut written = 0;
        while let Ok(bytes) = here.try_write(&[0; 1 << 16]) {
            written += bytes;
        }
        until(&here, true).await;
        let mut read = vec![0; written];
        there.read_exact(&mut read).await.unwrap();
        until(&here, false).await;
        here.write_all(b"x").await.unwrap();
        until(&here, false).await;
    }
}
