//! Whether a host is reached at the address that it advertises: it answers there with a word that only it knows.
//!
//! Asked by the leader before it admits a host, and by a host of itself before it begins a cluster. What it says is believed of one connection only: that other nodes reach
//! the host from where they are is not known by it.

use std::{io, time::Duration};

use tokio::{io::AsyncReadExt, time::timeout};

use crate::outside::Network;

/// From the first packet to the last byte: three times what a lost packet costs.
const REACH_MAX: Duration = Duration::from_secs(4);

#[derive(Debug, thiserror::Error)]
pub enum Unreachable {
    #[error("no answer in {} s", REACH_MAX.as_secs())]
    Silent,
    #[error("{0}")]
    Refused(io::Error),
    #[error("another host answers there")]
    Another,
}

/// Connects to `address` and reads `word`.
pub async fn check(network: &dyn Network, address: &str, word: &str) -> Result<(), Unreachable> {
    let heard = async {
        let mut stream = network.connect(address).await?;
        let mut heard = vec![0; word.len()];
        stream.read_exact(&mut heard).await.map(|_| heard)
    };
    match timeout(REACH_MAX, heard).await {
        Err(_elapsed) => Err(Unreachable::Silent),
        Ok(Ok(heard)) if heard == word.as_bytes() => Ok(()),
        Ok(Ok(_)) => Err(Unreachable::Another),
        Ok(Err(why)) if why.kind() == io::ErrorKind::UnexpectedEof => Err(Unreachable::Another),
        Ok(Err(why)) => Err(Unreachable::Refused(why)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;
    use crate::outside::network::HostNetwork;

    async fn said(word: &'static [u8]) -> Result<(), Unreachable> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let host = async { listener.accept().await.unwrap().0.write_all(word).await.unwrap() };
        tokio::join!(check(&HostNetwork, &address, "a word"), host).0
    }

    #[tokio::test]
    async fn only_the_host_that_knows_the_word_is_the_one() {
        assert!(said(b"a word").await.is_ok());
        assert!(matches!(said(b"another").await, Err(Unreachable::Another)));
        assert!(matches!(said(b"").await, Err(Unreachable::Another)));
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_not_reached() {
        let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().to_string();
        assert!(matches!(check(&HostNetwork, &free, "a word").await, Err(Unreachable::Refused(_))));
    }
}
