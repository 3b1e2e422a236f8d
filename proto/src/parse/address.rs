//! Where a daemon listens and where others reach it: `host[:port]`.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use super::{ParseError, port};

/// A host by address or name, and a port where one was given. Port zero stands for any free one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Without brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl Address {
    /// None for a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// This address with `port` where it has none of its own.
    #[must_use]
    pub fn or_port(self, port: u16) -> Self {
        Self { port: self.port.or(Some(port)), ..self }
    }
}

/// `host:port`, with brackets around a v6 address.
impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_v6 = self.host.contains(':');
        match (is_v6, self.port) {
            (false, None) => out.write_str(&self.host),
            (false, Some(port)) => write!(out, "{}:{port}", self.host),
            (true, None) => write!(out, "[{}]", self.host),
            (true, Some(port)) => write!(out, "[{}]:{port}", self.host),
        }
    }
}

/// `10.0.0.1:7377`, `host.example`, `[fe80::1]:7377`, `::1`.
pub fn address(text: &str) -> Result<Address, ParseError> {
    let refuse = |wrong: &str| {
        ParseError::new("address", text, wrong, "write it like 10.0.0.1:7377, host.example or [fd00::1]:7377")
    };
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok(Address { host: text.to_owned(), port: None });
    }
    let (host, after) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| refuse("its bracket is not closed"))?;
            if host.parse::<Ipv6Addr>().is_err() {
                return Err(refuse("what is in brackets is not an IPv6 address"));
            }
            (host, after)
        }
        None => {
            let (host, after) = text.split_at(text.find(':').unwrap_or(text.len()));
            if host.is_empty() {
                return Err(refuse("it names no host"));
            }
            if !is_host(host) {
                return Err(refuse("its host is neither an address nor a name"));
            }
            (host, after)
        }
    };
    let port = match after.strip_prefix(':') {
        Some(digits) => Some(port::digits(digits).ok_or_else(|| refuse("its port is not a number up to 65535"))?),
        None if after.is_empty() => None,
        None => return Err(refuse("after the host comes something that is not a port")),
    };
    Ok(Address { host: host.to_owned(), port })
}

/// An IPv4 address, or a name as DNS has them: labels of letters, digits and hyphens.
fn is_host(host: &str) -> bool {
    if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return host.parse::<IpAddr>().is_ok();
    }
    crate::parse::is_dns_name(host)
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn accepted() {
        for (text, host, port, shown) in [
            ("10.0.0.1:7377", "10.0.0.1", Some(7377), "10.0.0.1:7377"),
            ("10.0.0.1", "10.0.0.1", None, "10.0.0.1"),
            ("host-1.example:80", "host-1.example", Some(80), "host-1.example:80"),
            ("[::1]:7377", "::1", Some(7377), "[::1]:7377"),
            ("[::1]", "::1", None, "[::1]"),
            ("fd00::1", "fd00::1", None, "[fd00::1]"),
            ("0.0.0.0:0", "0.0.0.0", Some(0), "0.0.0.0:0"),
        ] {
            let read = address(text).expect(text);
            assert_eq!((read.host.as_str(), read.port, read.to_string().as_str()), (host, port, shown), "{text}");
        }
        assert_eq!(address("h").map(|a| a.or_port(7377).to_string()).as_deref(), Ok("h:7377"));
        assert_eq!(address("h:1").map(|a| a.or_port(7377).to_string()).as_deref(), Ok("h:1"));
    }

    #[test]
    fn refused() {
        check::refused(
            address,
            &["", ":7377", "host:", "host:x", "host:65536", "[::1", "[::1]7377", "[host]:1", "1.2.3:1", "1.2.3.4.5"],
        );
        check::refused(address, &["-host", "host_1", "http://host", "a b", "host:1:2", "a..b"]);
        check::says(
            address,
            ":7377",
            r#"invalid address ":7377": it names no host; write it like 10.0.0.1:7377, host.example or [fd00::1]:7377"#,
        );
    }
}
