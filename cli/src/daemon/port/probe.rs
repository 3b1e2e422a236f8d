//! While a host joins, and has no certificate yet: the proof that its advertised address leads to it. A manager connects
//! there and must read the word that the host has sent it.

use std::{convert::Infallible, io, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpListener};

/// Of one connection. Whoever does not take a line in this time is no manager.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Answers whoever connects, one after another, until it is dropped.
pub(in crate::daemon) async fn answer(listener: &TcpListener, word: &str) -> io::Result<Infallible> {
    loop {
        let (mut stream, _from) = listener.accept().await?;
        let said = async {
            stream.write_all(word.as_bytes()).await?;
            stream.shutdown().await
        };
        // A stranger's connection may break off; the manager's is what counts.
        drop(tokio::time::timeout(ANSWER_MAX, said).await);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpStream};

    use super::*;

    #[tokio::test]
    async fn every_caller_hears_the_word_also_after_one_that_broke_off() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, word) = (listener.local_addr().unwrap(), "a word".to_owned());
        let ask = async {
            drop(TcpStream::connect(address).await.unwrap());
            for _ in 0..2 {
                let mut heard = String::new();
                TcpStream::connect(address).await.unwrap().read_to_string(&mut heard).await.unwrap();
                assert_eq!(heard, word);
            }
        };
        tokio::select! {
            ended = answer(&listener, &word) => panic!("{ended:?}"),
            () = ask => {}
        }
    }
}
