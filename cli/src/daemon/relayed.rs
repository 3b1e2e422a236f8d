//! A connection between two nodes that carries the bytes of a client, at either of its ends.
//!
//! A client may read as slowly as it likes, so that bytes may wait here for ever. The kernel's own limit for that
//! (`TCP_USER_TIMEOUT`) cannot tell a reader that pauses from a host that has died, and its keep-alive asks nothing
//! while bytes wait. What tells them apart is whether the other host answers what is repeated to it. So while bytes may
//! be waiting this looks at how often that was in vain; an idle connection costs nothing and is left to the keep-alive.

mod answers;

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

use answers::Answers;

/// Between two looks while bytes may wait.
const LOOK: Duration = Duration::from_secs(1);
/// Repetitions without an answer. They come at growing intervals: this many take some six seconds on a fast network, and
/// a cut that ends after three is survived.
const REPEATED_MAX: u8 = 5;

/// A stream over one TCP connection.
pub(super) trait OverTcp: AsyncRead + AsyncWrite + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl OverTcp for tokio_rustls::client::TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

#[derive(Debug)]
pub(super) struct Relayed<S> {
    stream: S,
    /// None while nothing waits.
    next_look: Option<Pin<Box<Sleep>>>,
}

impl<S: OverTcp> Relayed<S> {
    pub(super) fn new(stream: S) -> io::Result<Self> {
        SockRef::from(stream.socket()).set_tcp_user_timeout(None)?;
        Ok(Self { stream, next_look: None })
    }

    /// An error once the other host is taken for dead. Wakes the task for the next look.
    fn look(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while let Some(next_look) = &mut self.next_look {
            if next_look.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            let answers = Answers::of(self.stream.socket())?;
            if answers.repeated >= REPEATED_MAX {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the other host does not answer any more"));
            }
            if answers.is_something_waiting {
                next_look.as_mut().reset(Instant::now() + LOOK);
            } else {
                self.next_look = None;
            }
        }
        Ok(())
    }
}

impl<S: OverTcp> AsyncRead for Relayed<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.look(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: OverTcp> AsyncWrite for Relayed<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.next_look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        self.look(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.next_look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        self.look(context)?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}
