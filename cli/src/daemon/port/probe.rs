//! While a host joins: the proof that its advertised address leads to it. A manager connects there and must read what
//! the host has told it in its request.

use std::{convert::Infallible, io};

use tokio::{io::AsyncWriteExt, net::TcpListener, time::Duration};

/// Of one connection. Whoever does not take a line in this time is no manager.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Answers until it is dropped.
pub(in crate::daemon) async fn answer(listener: &TcpListener, nonce: &str) -> io::Result<Infallible> {
    loop {
        let (mut stream, _from) = listener.accept().await?;
        // A stranger's connection may break off; the manager's is what counts.
        drop(tokio::time::timeout(ANSWER_MAX, stream.write_all(nonce.as_bytes())).await);
    }
}
