//! What a host says of itself when it joins, or a node when it renews, in the domain and within limits. Pure.

use std::net::IpAddr;

use muster_proto::{id::NodeId, node::Availability, parse, v1};
use tonic::Status;

use super::JOIN_PROTOCOL;
use crate::ca::JoinSecret;

/// In DER: what the CA signs takes 91.
const PUBLIC_KEY_BYTES_MAX: usize = 512;
/// Of a host's name, as DNS has it, with a port and brackets.
const ADDRESS_BYTES_MAX: usize = 263;
const HOSTNAME_BYTES_MAX: usize = 255;
const VERSION_BYTES_MAX: usize = 64;
const PROBE_BYTES_MAX: usize = 64;
/// Fewer could be guessed by whoever else listens at the address.
const PROBE_BYTES_MIN: usize = 16;

/// A join as it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// None: what was sent cannot be one.
    pub(super) secret: Option<JoinSecret>,
    pub(super) id: NodeId,
    pub(super) public_key: Vec<u8>,
    pub(super) address: String,
    pub(super) probe: String,
    pub(super) availability: Availability,
    pub(super) hostname: String,
    pub(super) log_format: u16,
}

impl Wish {
    /// `own` is where this manager is reached.
    pub(super) fn read(request: v1::JoinRequest, own: &str) -> Result<Self, Status> {
        if request.protocol != JOIN_PROTOCOL {
            return Err(Status::failed_precondition(format!(
                "this host's muster joins by protocol {} and the managers' by {JOIN_PROTOCOL}; run the version of muster \
                 that the managers run",
                request.protocol
            )));
        }
        let availability = v1::Availability::try_from(request.availability).unwrap_or(v1::Availability::Unspecified);
        let availability = match availability {
            v1::Availability::Unspecified | v1::Availability::Active => Availability::Active,
            v1::Availability::Pause => Availability::Pause,
            v1::Availability::Drain => Availability::Drain,
        };
        within("hostname", request.hostname.len(), HOSTNAME_BYTES_MAX)?;
        within("version", request.muster_version.len(), VERSION_BYTES_MAX)?;
        let probe = request.probe;
        within("probe", probe.len(), PROBE_BYTES_MAX)?;
        if probe.len() < PROBE_BYTES_MIN || !probe.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Status::invalid_argument(
                "the host's probe is not a random text; run the version of muster that the managers run",
            ));
        }
        Ok(Self {
            secret: request.secret.parse().ok(),
            id: request.node_id.parse().map_err(|_| {
                Status::invalid_argument(
                    "the host gave itself no node id; run the version of muster that the managers run",
                )
            })?,
            public_key: public_key(request.public_key)?,
            address: address(&request.advertise_addr, own)?,
            probe,
            availability,
            hostname: request.hostname,
            log_format: log_format(request.log_format)?,
        })
    }
}

pub(super) fn public_key(bytes: Vec<u8>) -> Result<Vec<u8>, Status> {
    within("public key", bytes.len(), PUBLIC_KEY_BYTES_MAX)?;
    Ok(bytes)
}

pub(super) fn log_format(said: u32) -> Result<u16, Status> {
    u16::try_from(said).ok().filter(|format| *format > 0).ok_or_else(|| {
        Status::invalid_argument("the host says no log format; run the version of muster that the managers run")
    })
}

fn within(what: &str, bytes: usize, max: usize) -> Result<(), Status> {
    if bytes <= max {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("the {what} takes {bytes} bytes and may take {max}; make it shorter")))
}

/// An address that others may reach, as one text for each address. `own` tells whether the whole cluster is on one
/// host, where the loopback interface will do.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn address(text: &str, own: &str) -> Result<String, Status> {
    within("advertised address", text.len(), ADDRESS_BYTES_MAX)?;
    let address = parse::address(text).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let refuse = |what: &str| {
        Err(Status::invalid_argument(format!("{text} {what}; name one that others reach with --advertise-addr")))
    };
    if address.port.is_none_or(|port| port == 0) {
        return refuse("has no port");
    }
    match address.ip().map(|ip| ip.to_canonical()) {
        Some(ip) if ip.is_unspecified() => return refuse("stands for every address of a host and is none"),
        Some(ip) if ip.is_multicast() || ip == IpAddr::from([255; 4]) => {
            return refuse("is the address of many hosts");
        }
        Some(_) | None => {}
    }
    if is_loopback(&address) && !parse::address(own).is_ok_and(|own| is_loopback(&own)) {
        return refuse("leads every host to itself");
    }
    Ok(address.to_string())
}

fn is_loopback(address: &parse::Address) -> bool {
    match address.ip() {
        Some(ip) => ip.to_canonical().is_loopback(),
        None => address.host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use muster_proto::v1::JoinRequest;

    use super::*;

    const OWN: &str = "10.0.0.1:7377";

    fn request() -> JoinRequest {
        JoinRequest {
            protocol: JOIN_PROTOCOL,
            secret: "0".repeat(25),
            node_id: NodeId::from_bits(7).to_string(),
            public_key: vec![1; 91],
            advertise_addr: "10.0.0.2:7377".to_owned(),
            probe: "0123456789abcdef".to_owned(),
            availability: v1::Availability::Drain.into(),
            hostname: "b".to_owned(),
            muster_version: "0.2.0".to_owned(),
            log_format: 2,
        }
    }

    fn refused(change: impl FnOnce(&mut JoinRequest)) -> String {
        let mut request = request();
        change(&mut request);
        Wish::read(request, OWN).expect_err("refused").message().to_owned()
    }

    #[test]
    fn a_join_is_read() {
        let wish = Wish::read(request(), OWN).expect("read");
        assert_eq!((wish.id, wish.address.as_str()), (NodeId::from_bits(7), "10.0.0.2:7377"));
        assert_eq!((wish.availability, wish.log_format), (Availability::Drain, 2));
        assert!(wish.secret.is_some());
        let mut mistyped = request();
        mistyped.secret = "x".repeat(100_000);
        assert!(Wish::read(mistyped, OWN).expect("counted as a failure later").secret.is_none());
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        assert!(refused(|request| request.protocol = 2).contains("by protocol 2 and the managers' by 1"));
        assert!(refused(|request| request.public_key = vec![0; 513]).contains("513 bytes and may take 512"));
        assert!(refused(|request| request.hostname = "a".repeat(256)).contains("may take 255"));
        assert!(refused(|request| request.muster_version = "a".repeat(65)).contains("may take 64"));
        assert!(refused(|request| request.probe = "a".repeat(65)).contains("may take 64"));
        assert!(refused(|request| request.probe.truncate(15)).contains("not a random text"));
        assert!(refused(|request| request.probe = "\n".repeat(20)).contains("not a random text"));
        assert!(refused(|request| request.node_id.clear()).contains("no node id"));
        assert!(refused(|request| request.log_format = 0).contains("no log format"));
        assert!(refused(|request| request.log_format = 70_000).contains("no log format"));
    }

    #[test]
    fn an_address_must_lead_others_to_the_host() {
        for (text, why) in [
            ("0.0.0.0:7377", "stands for every address"),
            ("[::]:7377", "stands for every address"),
            ("127.0.0.1:7377", "leads every host to itself"),
            ("[::1]:7377", "leads every host to itself"),
            ("[::ffff:127.0.0.1]:7377", "leads every host to itself"),
            ("LocalHost:7377", "leads every host to itself"),
            ("224.0.0.1:7377", "address of many hosts"),
            ("255.255.255.255:7377", "address of many hosts"),
            ("10.0.0.2", "has no port"),
            ("10.0.0.2:0", "has no port"),
            ("not an address", "invalid address"),
        ] {
            let said = address(text, OWN).expect_err(text);
            assert!(said.message().contains(why), "{text}: {}", said.message());
        }
        assert_eq!(address("host.example:80", OWN).expect("a name"), "host.example:80");
        assert_eq!(address("127.0.0.1:80", "127.0.0.1:7377").expect("one host"), "127.0.0.1:80");
    }
}
