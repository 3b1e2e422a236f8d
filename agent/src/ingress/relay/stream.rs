//! Reading and writing streams without keeping a buffer for those that are idle.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Moved;

/// Read at a time.
const CHUNK_BYTES: usize = 32 * 1024;

#[derive(Debug)]
pub(super) enum Read<T> {
    /// Some came; what was made of them.
    Bytes(T),
    End,
}

/// Reads once, into the stack, and hands on what came.
pub(super) fn read<T>(
    from: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8], &mut Context<'_>) -> T,
) -> Poll<io::Result<Read<T>>> {
    let mut chunk = [MaybeUninit::<u8>::uninit(); CHUNK_BYTES];
    let mut chunk = ReadBuf::uninit(&mut chunk);
    ready!(Pin::new(from).poll_read(cx, &mut chunk))?;
    Poll::Ready(Ok(match chunk.filled() {
        [] => Read::End,
        bytes => Read::Bytes(take(bytes, cx)),
    }))
}

/// Writes what the socket takes and keeps the rest, which must be empty before.
pub(super) fn write(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    rest: &mut BytesMut,
    cx: &mut Context<'_>,
) -> io::Result<()> {
    let written = match Pin::new(to).poll_write(cx, bytes) {
        Poll::Ready(written) => written?,
        Poll::Pending => 0,
    };
    rest.extend_from_slice(&bytes[written..]);
    Ok(())
}

/// Writes what was kept, as far as the socket takes it.
pub(super) fn flush(
    to: &mut (impl AsyncWrite + Unpin),
    kept: &mut BytesMut,
    cx: &mut Context<'_>,
) -> io::Result<Moved> {
    let mut moved = Moved::No;
    while !kept.is_empty() {
        match Pin::new(&mut *to).poll_write(cx, kept) {
            Poll::Pending => return Ok(moved),
            Poll::Ready(written) => {
                kept.advance(written?);
                moved = Moved::Yes;
            }
        }
    }
    if moved == Moved::Yes {
        *kept = BytesMut::new();
    }
    // What encrypts may hold back what it took; it wakes the task when it can go on.
    if let Poll::Ready(flushed) = Pin::new(to).poll_flush(cx) {
        flushed?;
    }
    Ok(moved)
}

/// Tells the other side that no more will come. Pending while it takes nothing; one that is gone already needs no
/// telling.
pub(super) fn shutdown(to: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<()> {
    Pin::new(to).poll_shutdown(cx).map(|told| {
        if let Err(error) = told {
            tracing::trace!(%error, "a connection was gone before it could be shut down");
        }
    })
}
