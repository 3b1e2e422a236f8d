//! Published ports, in the short and the long form of `docker service create --publish`.

use std::ops::RangeInclusive;

use super::{ParseError, choice, is_negative, options::Options};
use crate::endpoint::{PortConfig, Protocol, PublishMode};

const WHAT: &str = "port";
const ACCEPTED: &str = "write it like 8000:80, 80, 8000-8002:80-82 or published=8000,target=80,mode=host,protocol=tcp";

/// One port, or several where a range was written. A published port of zero is one to be allocated.
pub fn port(text: &str) -> Result<Vec<PortConfig>, ParseError> {
    if text.contains('=') { long(text).map(|port| vec![port]) } else { short(text) }
}

fn refuse(text: &str, wrong: impl Into<String>) -> ParseError {
    ParseError::new(WHAT, text, wrong, ACCEPTED)
}

fn short(text: &str) -> Result<Vec<PortConfig>, ParseError> {
    if is_negative(text) {
        return Err(refuse(text, "it is negative"));
    }
    let (ports, protocol) = match text.split_once('/') {
        Some((ports, name)) => (ports, protocol(text, name)?),
        None => (text, Protocol::Tcp),
    };
    let (published, target) = match ports.rsplit_once(':') {
        None => (None, ports),
        Some((before, _)) if before.contains([':', '.']) => {
            return Err(refuse(text, "a service is published on every address of every node, so no address goes in"));
        }
        Some((published, target)) => (Some(published), target),
    };
    let targets = range(text, target)?;
    if *targets.start() == 0 {
        return Err(refuse(text, "the port in the container is zero"));
    }
    let published = match published {
        None => return Ok(targets.map(|target| config(protocol, target, 0)).collect()),
        Some(published) => range(text, published)?,
    };
    if published.len() != targets.len() {
        return Err(refuse(text, "its two ranges differ in length"));
    }
    if *published.start() == 0 && published.len() > 1 {
        return Err(refuse(text, "a range cannot start at zero"));
    }
    Ok(published.zip(targets).map(|(published, target)| config(protocol, target, published)).collect())
}

fn config(protocol: Protocol, target: u16, published: u16) -> PortConfig {
    PortConfig { protocol, target, published, mode: PublishMode::Ingress }
}

fn range(text: &str, part: &str) -> Result<RangeInclusive<u16>, ParseError> {
    let (first, last) = match part.split_once('-') {
        None => (part, part),
        Some(ends) => ends,
    };
    let (first, last) = (number(text, first)?, number(text, last)?);
    if first > last {
        return Err(refuse(text, "a range ends before it starts"));
    }
    Ok(first..=last)
}

pub(super) fn digits(text: &str) -> Option<u16> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

fn number(text: &str, part: &str) -> Result<u16, ParseError> {
    digits(part).ok_or_else(|| refuse(text, format!("{} is not a port from 0 to 65535", super::Quoted(part))))
}

/// The user's whole text is what the error names, not the protocol alone.
fn protocol(text: &str, name: &str) -> Result<Protocol, ParseError> {
    choice::protocol(name).map_err(|error| refuse(text, error.wrong))
}

fn long(text: &str) -> Result<PortConfig, ParseError> {
    let mut options = Options::read(WHAT, text, ACCEPTED)?;
    if options.take(&["host_ip", "host-ip"])?.is_some() {
        return Err(options.refuse("a service is published on every address of every node, so no address goes in"));
    }
    let target = match options.take(&["target"])? {
        Some(target) => number(text, target)?,
        None => return Err(options.refuse("target is missing")),
    };
    if target == 0 {
        return Err(options.refuse("the port in the container is zero"));
    }
    let published = options.take(&["published"])?.map_or(Ok(0), |published| number(text, published))?;
    let protocol = options.take(&["protocol"])?.map_or(Ok(Protocol::Tcp), |name| protocol(text, name))?;
    let mode = match options.take(&["mode"])? {
        Some(name) => choice::publish_mode(name).map_err(|error| options.refuse(error.wrong))?,
        None => PublishMode::Ingress,
    };
    options.finish()?;
    Ok(PortConfig { protocol, target, published, mode })
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    fn shown(text: &str) -> String {
        let ports = port(text).expect(text);
        let each = ports.iter().map(|p| format!("{}:{}/{} {}", p.published, p.target, p.protocol, p.mode));
        each.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn accepted() {
        for (text, expected) in [
            ("8000:80", "8000:80/tcp ingress"),
            ("80", "0:80/tcp ingress"),
            ("0:80", "0:80/tcp ingress"),
            ("8000:80/tcp", "8000:80/tcp ingress"),
            ("8000:80/TCP", "8000:80/tcp ingress"),
            ("8000-8001:80-81", "8000:80/tcp ingress, 8001:81/tcp ingress"),
            ("80-81/tcp", "0:80/tcp ingress, 0:81/tcp ingress"),
            ("65535:65535", "65535:65535/tcp ingress"),
            ("published=8080,target=80", "8080:80/tcp ingress"),
            ("target=80", "0:80/tcp ingress"),
            ("mode=host,protocol=tcp,published=8080,target=80", "8080:80/tcp host"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn refused() {
        check::refused(
            port,
            &["", ":", "80:", ":80", "a:80", "80:b", "65536", "80:0", "0", "-1:80", "+1:80", "1-2:80", "2-1:3-2"],
        );
        check::refused(port, &["127.0.0.1:80:80", "[::1]:80:80", "80:80/udp", "80:80/sctp", "80:80/", "0-1:80-81"]);
        check::refused(
            port,
            &["published=80", "target=0", "target=", "target=80,target=81", "target=80,x=1", "target=80,mode=both"],
        );
        check::refused(port, &["target=80,,", "target=80,host_ip=127.0.0.1", "target=80,protocol=udp", "=80"]);
    }

    #[test]
    fn sentences() {
        let accepted = "write it like 8000:80, 80, 8000-8002:80-82 or published=8000,target=80,mode=host,protocol=tcp";
        for (text, wrong) in [
            ("80:80/udp", "udp is not carried, only tcp is"),
            ("1.2.3.4:1:2", "a service is published on every address of every node, so no address goes in"),
            ("70000:80", "\"70000\" is not a port from 0 to 65535"),
            ("target=80,size=1", "\"size\" is not among its fields"),
        ] {
            check::says(port, text, &format!("invalid port {text:?}: {wrong}; {accepted}"));
        }
    }
}
