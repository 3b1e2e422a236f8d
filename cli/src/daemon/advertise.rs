//! The address at which other nodes reach this one, and whether it leads here at all: one that a manager does not reach
//! itself at is good for nobody, as its own agent dials it too.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use muster_manager::{membership, outside::network::HostNetwork, reach};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

use super::{port::probe, record::hex};

/// When a host starts, its network may come up after its daemon.
const NETWORK_MAX: Duration = Duration::from_secs(6);
/// Between two looks at it.
const NETWORK_PAUSE: Duration = Duration::from_millis(500);

/// The first of: what the command said, what the daemon was started with, the listen address where it is one address,
/// the address of the interface that leads to other networks.
pub(super) fn choose(asked: &str, configured: Option<&str>, listen: SocketAddr) -> anyhow::Result<String> {
    let said = if asked.is_empty() { configured } else { Some(asked) };
    if let Some(text) = said {
        return match muster_proto::parse::address(text) {
            Ok(address) => {
                let address = address.or_port(listen.port()).to_string();
                // Of one's own the loopback interface will do: a cluster may be of this host alone.
                membership::address(&address, &address).map_err(|status| anyhow!("{}", status.message()))
            }
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

/// Where a node that was at `before` is to be from now on.
pub(super) fn moved(before: &str, configured: &str, listen: SocketAddr) -> anyhow::Result<String> {
    let address = choose("", Some(configured), listen)?;
    // Others know it: its own loopback interface would lead each of them to itself.
    membership::address(&address, before).map_err(|status| anyhow!("{}", status.message()))
}

/// Refuses an address that does not lead to `listener`, on which nothing else is answered meanwhile.
pub(super) async fn check(address: &str, listener: &TcpListener) -> anyhow::Result<()> {
    let word = hex(&rand::random::<[u8; 16]>());
    let reached = tokio::select! {
        reached = reach::check(&HostNetwork, address, &word) => reached,
        Err(error) = probe::answer(listener, &word) => {
            return Err(error).context("cannot listen for this host's own check of its address");
        }
    };
    reached.map_err(|why| elsewhere(address, &why.to_string()))
}

/// As [`check`], of a host that has perhaps just started.
pub(super) async fn check_patiently(address: &str, listener: &TcpListener) -> anyhow::Result<()> {
    let end = Instant::now() + NETWORK_MAX;
    loop {
        match check(address, listener).await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= end => return Err(error),
            Err(error) => tracing::warn!("{error:#}; trying again for a while"),
        }
        sleep(NETWORK_PAUSE).await;
    }
}

/// What is said of an address that is another host's or nobody's.
pub(super) fn elsewhere(address: &str, why: &str) -> anyhow::Error {
    anyhow!(
        "{address} does not lead to this host ({why}), so no node would reach it there; name an address of this host with \
         --advertise-addr"
    )
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

    #[tokio::test]
    async fn an_address_leads_here_where_this_host_answers_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        check(&own, &listener).await.unwrap();
        check_patiently(&own, &listener).await.unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = silent.local_addr().unwrap().to_string();
        drop(silent);
        let said = check(&other, &listener).await.unwrap_err().to_string();
        assert!(said.starts_with(&format!("{other} does not lead to this host")), "{said}");
    }

    #[test]
    fn an_address_that_leads_nobody_here_is_refused() {
        let listen = "0.0.0.0:7377".parse().unwrap();
        for (text, why) in [
            ("0.0.0.0", "stands for every address"),
            ("[::]:7377", "stands for every address"),
            ("224.0.0.1", "address of many hosts"),
            ("10.0.0.1:0", "has no port"),
        ] {
            for said in
                [choose(text, None, listen), choose("", Some(text), listen), moved("10.0.0.1:7377", text, listen)]
            {
                let said = said.unwrap_err().to_string();
                assert!(said.contains(why), "{text}: {said}");
            }
        }
        assert_eq!(choose("127.0.0.1", None, listen).unwrap(), "127.0.0.1:7377");
        assert_eq!(moved("127.0.0.1:7377", "127.0.0.2", listen).unwrap(), "127.0.0.2:7377");
        let said = moved("10.0.0.1:7377", "127.0.0.1", listen).unwrap_err().to_string();
        assert!(said.contains("leads every host to itself"), "{said}");
    }
}
