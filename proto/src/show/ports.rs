//! Published ports.

use crate::endpoint::PortConfig;

/// `*:8000->80/tcp, *:9000-9002->90-92/tcp`; a port that is not allocated yet has no first half.
#[must_use]
pub fn ports(ports: &[PortConfig]) -> String {
    let mut sorted: Vec<&PortConfig> = ports.iter().collect();
    sorted.sort_by_key(|port| (port.protocol, port.mode, port.published, port.target));
    let mut shown: Vec<String> = Vec::new();
    let mut rest = sorted.as_slice();
    while let Some(first) = rest.first() {
        let length = 1 + rest.windows(2).take_while(|pair| follows(pair[0], pair[1])).count();
        shown.push(span(first, rest[length - 1]));
        rest = &rest[length..];
    }
    shown.join(", ")
}

fn follows(before: &PortConfig, after: &PortConfig) -> bool {
    before.published != 0
        && (before.protocol, before.mode) == (after.protocol, after.mode)
        && before.published.checked_add(1) == Some(after.published)
        && before.target.checked_add(1) == Some(after.target)
}

fn span(first: &PortConfig, last: &PortConfig) -> String {
    let range = |first: u16, last: u16| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let target = range(first.target, last.target);
    match first.published {
        0 => format!("{target}/{}", first.protocol),
        published => format!("*:{}->{target}/{}", range(published, last.published), first.protocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn forms() {
        let shown = |texts: &[&str]| {
            let read: Vec<PortConfig> = texts.iter().flat_map(|text| parse::port(text).expect(text)).collect();
            ports(&read)
        };
        assert_eq!(shown(&[]), "");
        assert_eq!(shown(&["8000:80"]), "*:8000->80/tcp");
        assert_eq!(shown(&["80"]), "80/tcp");
        assert_eq!(shown(&["9000-9002:90-92", "8000:80"]), "*:8000->80/tcp, *:9000-9002->90-92/tcp");
        assert_eq!(shown(&["1:1", "target=2,published=2,mode=host"]), "*:1->1/tcp, *:2->2/tcp");
        assert_eq!(shown(&["65534-65535:1-2", "80-81"]), "80/tcp, 81/tcp, *:65534-65535->1-2/tcp");
    }
}
