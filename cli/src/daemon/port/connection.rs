//! A secured connection that can be cut: when its node is removed, when a stranger's place is needed, when the
//! certificate that it was opened with ends. Whoever reads from it or writes to it then finds it broken.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::{connections::Seat, lobby::Place};
use crate::daemon::relayed::OverTcp;

/// In which capacity it goes on; given back with it.
#[derive(Debug)]
pub(super) enum Standing {
    Stranger(Place),
    Member(Seat),
}

pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    /// None once it has come.
    end: Option<BoxFuture<'static, ()>>,
    standing: Standing,
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection").field("standing", &self.standing).finish_non_exhaustive()
    }
}

impl Connection {
    /// For `life` at the longest.
    pub(super) fn new(stream: TlsStream<TcpStream>, standing: Standing, life: Duration) -> Self {
        let cut = match &standing {
            Standing::Stranger(place) => place.taken.clone(),
            Standing::Member(seat) => seat.cut.clone(),
        };
        let end = Box::pin(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                () = tokio::time::sleep(life) => {}
            }
        });
        Self { stream, end: Some(end), standing }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_pending()
        {
            return Ok(());
        }
        self.end = None;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut"))
    }
}

impl OverTcp for Connection {
    fn socket(&self) -> &TcpStream {
        self.stream.get_ref().0
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
