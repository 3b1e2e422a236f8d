//! The little of HTTP/1.1 that a probe needs: one GET, and the status of its answer. Redirects pass and are not
//! followed, as the answer itself shows that the server serves.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A status line and the headers after it; the body is not read.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 128;

pub(super) async fn get(address: SocketAddr, path: &str) -> Result<(), String> {
    let at = |error: std::io::Error| format!("GET http://{address}{path}: {error}");
    let mut stream = TcpStream::connect(address).await.map_err(at)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: muster-health\r\naccept: */*\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(at)?;
    let mut head = Vec::with_capacity(1024);
    loop {
        if let Some(code) = status(&head)? {
            return if (200..=399).contains(&code) {
                Ok(())
            } else {
                Err(format!("GET http://{address}{path}: status {code}"))
            };
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(format!("GET http://{address}{path}: more than {HEAD_BYTES_MAX} bytes of headers"));
        }
        if stream.read_buf(&mut head).await.map_err(at)? == 0 {
            return Err(format!("GET http://{address}{path}: the connection ended before an answer"));
        }
    }
}

/// None while the head is incomplete.
fn status(head: &[u8]) -> Result<Option<u16>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => Ok(response.code),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(format!("the answer is not HTTP: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answered(answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /ready HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        tokio::join!(get(address, "/ready"), serve).0.map_err(|why| why.replace(&address.to_string(), "app"))
    }

    #[tokio::test]
    async fn statuses_below_400_pass() {
        assert_eq!(answered("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await, Ok(()));
        assert_eq!(answered("HTTP/1.0 302 Found\r\nlocation: /\r\n\r\n").await, Ok(()));
        let refused = answered("HTTP/1.1 503 Later\r\n\r\nbusy").await;
        assert_eq!(refused, Err("GET http://app/ready: status 503".to_owned()));
    }

    #[tokio::test]
    async fn other_answers_fail() {
        assert!(answered("SSH-2.0-OpenSSH\r\n").await.unwrap_err().contains("not HTTP"));
        assert!(answered("HTTP/1.1 200 OK\r\n").await.unwrap_err().contains("ended before"));
    }
}
