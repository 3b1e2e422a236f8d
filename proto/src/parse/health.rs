//! Health probes: `8080/healthz`, `5432`.

use super::{ParseError, port};
use crate::health::Probe;

fn port_number(text: &str) -> Option<u16> {
    port::digits(text).filter(|port| *port != 0)
}

/// `8080/healthz`, `:8080/healthz` or `8080`: a GET on the container's own address.
pub fn health_http(text: &str) -> Result<Probe, ParseError> {
    let refuse = |wrong: &str| {
        ParseError::new("http health check", text, wrong, "write the container's port and a path, like 8080/healthz")
    };
    if text.contains("://") {
        return Err(refuse("it is a full address, but every task is asked at its own"));
    }
    let rest = text.strip_prefix(':').unwrap_or(text);
    let (port, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let port = port_number(port).ok_or_else(|| refuse("it does not start with a port from 1 to 65535"))?;
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(refuse("its path has spaces or characters that need escaping"));
    }
    Ok(Probe::Http { port, path: path.to_owned() })
}

/// `5432` or `:5432`.
pub fn health_tcp(text: &str) -> Result<Probe, ParseError> {
    let port = port_number(text.strip_prefix(':').unwrap_or(text)).ok_or_else(|| {
        ParseError::new(
            "tcp health check",
            text,
            "it is not a port from 1 to 65535",
            "write the container's port, like 5432",
        )
    })?;
    Ok(Probe::Tcp { port })
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn http() {
        for (text, port, path) in [
            ("8080/healthz", 8080, "/healthz"),
            (":8080/healthz", 8080, "/healthz"),
            ("8080", 8080, "/"),
            ("80/a/b?c=d", 80, "/a/b?c=d"),
        ] {
            assert_eq!(health_http(text), Ok(Probe::Http { port, path: path.to_owned() }), "{text}");
        }
        check::refused(health_http, &["", "/healthz", "0/x", "65536/x", "http://:80/x", "80/a b", "80/é", "80/a\r\nb"]);
        check::refused(health_http, &["host:80/x", "::80/x", "80x"]);
    }

    #[test]
    fn tcp() {
        assert_eq!(health_tcp("5432"), Ok(Probe::Tcp { port: 5432 }));
        assert_eq!(health_tcp(":5432"), Ok(Probe::Tcp { port: 5432 }));
        check::refused(health_tcp, &["", "0", "db:5432", "99999", "80/tcp"]);
    }
}
