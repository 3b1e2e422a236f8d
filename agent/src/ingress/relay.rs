//! One client connection, from accept to close.

use tokio::net::TcpStream;

use super::{Shared, dial};

pub(super) async fn run(mut client: TcpStream, port: u16, shared: &Shared) {
    let Some(mut upstream) = dial::upstream(shared, port).await else { return };
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut upstream.stream).await {
        tracing::debug!(port, %error, "a connection broke");
    }
}
