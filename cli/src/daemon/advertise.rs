//! The address at which other nodes reach this one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::bail;

/// The first of: what the command said, what the daemon was started with, the listen address where it is one address,
/// the address of the interface that leads to other networks.
pub(super) fn choose(asked: &str, configured: Option<&str>, listen: SocketAddr) -> anyhow::Result<String> {
    let said = if asked.is_empty() { configured } else { Some(asked) };
    if let Some(text) = said {
        return match muster_proto::parse::address(text) {
            Ok(address) => Ok(address.or_port(listen.port()).to_string()),
            Err(error) => bail!("{error}"),
        };
    }
    if !listen.ip().is_unspecified() {
        return Ok(listen.to_string());
    }
    match outward() {
        Some(ip) => Ok(SocketAddr::new(ip, listen.port()).to_string()),
        None => bail!(
            "cannot tell which address of this host other nodes reach; name it with --advertise-addr, or use \
             --advertise-addr 127.0.0.1 for a cluster of this host alone"
        ),
    }
}

/// The local address a packet to another network would carry. Connecting a UDP socket only looks up the route; nothing
/// is sent. The target is from a block reserved for documentation (RFC 5737).
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_wins_and_gets_the_listen_port() {
        let listen = "0.0.0.0:7377".parse().unwrap();
        assert_eq!(choose("10.0.0.9", Some("10.0.0.1"), listen).unwrap(), "10.0.0.9:7377");
        assert_eq!(choose("", Some("10.0.0.1:9"), listen).unwrap(), "10.0.0.1:9");
        assert_eq!(choose("", None, "127.0.0.2:7400".parse().unwrap()).unwrap(), "127.0.0.2:7400");
        assert!(choose("not an address", None, listen).is_err());
    }
}
