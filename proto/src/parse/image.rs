//! Names of images, in the grammar of docker's references: `registry:5000/team/app:1.0@sha256:…`.

use std::fmt;

use super::ParseError;

const ACCEPTED: &str = "write it like app:1.0 or registry.example:5000/team/app:1.0";

/// Docker's bounds.
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;
/// Hexadecimal digits of a digest, at the least.
const DIGEST_HEX_MIN: usize = 32;

/// The parts of an image's name, as the user wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// With the registry, where one was given.
    pub name: String,
    pub tag: Option<String>,
    /// `sha256:…`
    pub digest: Option<String>,
}

impl ImageReference {
    /// It may mean another image tomorrow, and says nothing of which one it means today.
    #[must_use]
    pub fn is_unpinned(&self) -> bool {
        self.digest.is_none() && self.tag.as_deref().is_none_or(|tag| tag == "latest")
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(out, "@{digest}")?;
        }
        Ok(())
    }
}

/// `NAME[:TAG][@DIGEST]`.
pub fn image(text: &str) -> Result<ImageReference, ParseError> {
    let refuse = |wrong: &str| ParseError::new("image", text, wrong, ACCEPTED);
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon before the last slash belongs to the registry's port.
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last..].find(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
        None => (rest, None),
    };
    if name.is_empty() {
        return Err(refuse("it has no name"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(refuse("its name is longer than 255 characters"));
    }
    if name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(refuse("it is the id of an image, which only one host may know"));
    }
    if let Err(wrong) = check_name(name) {
        return Err(refuse(wrong));
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(refuse("its tag is not up to 128 letters, digits and _.-"));
    }
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(refuse("its digest is not like sha256: and 64 hexadecimal digits"));
    }
    Ok(ImageReference { name: name.to_owned(), tag: tag.map(str::to_owned), digest: digest.map(str::to_owned) })
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let path = match name.split_once('/') {
        Some((domain, path)) if is_meant_as_domain(domain) => {
            if !is_domain(domain) {
                return Err("its registry is neither a host name nor an address");
            }
            path
        }
        Some(_) | None => name,
    };
    if path.split('/').all(is_component) {
        Ok(())
    } else if path.bytes().any(|b| b.is_ascii_uppercase()) {
        Err("its name has capital letters")
    } else {
        Err("its name is not made of lower-case letters and digits, joined by one of . _ - /")
    }
}

/// What stands before the first slash is a registry when it looks like a host.
fn is_meant_as_domain(domain: &str) -> bool {
    domain == "localhost" || domain.contains(['.', ':']) || domain.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_domain(domain: &str) -> bool {
    let (host, after) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) if host.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", after),
        Some(_) => return false,
        None => domain.split_at(domain.find(':').unwrap_or(domain.len())),
    };
    let port_is_fine = match after.strip_prefix(':') {
        Some(port) => super::port::digits(port).is_some(),
        None => after.is_empty(),
    };
    super::is_dns_name(host) && port_is_fine
}

/// Runs of lower-case letters and digits, joined by one point, one or two underscores, or any number of hyphens.
fn is_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = component;
    loop {
        let after = rest.trim_start_matches(is_word);
        if after.len() == rest.len() {
            return false;
        }
        if after.is_empty() {
            return true;
        }
        rest = after.trim_start_matches(['.', '_', '-']);
        let joint = &after[..after.len() - rest.len()];
        if !matches!(joint, "." | "_" | "__") && (joint.is_empty() || joint.bytes().any(|b| b != b'-')) {
            return false;
        }
    }
}

fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
}

/// `sha256:` and 64 hexadecimal digits, or another algorithm and at least 32.
#[must_use]
pub fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let algorithm_is_fine = algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    let length_is_fine = if algorithm == "sha256" { hex.len() == 64 } else { hex.len() >= DIGEST_HEX_MIN };
    algorithm_is_fine && length_is_fine && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn accepted() {
        for (text, name, tag) in [
            ("app", "app", None),
            ("app:1.0", "app", Some("1.0")),
            ("team/app:v1_2-rc.3", "team/app", Some("v1_2-rc.3")),
            ("registry:5000/app", "registry:5000/app", None),
            ("registry.example:5000/team/app:1", "registry.example:5000/team/app", Some("1")),
            ("localhost/app", "localhost/app", None),
            ("REGISTRY/app", "REGISTRY/app", None),
            ("[fd00::1]:5000/app:1", "[fd00::1]:5000/app", Some("1")),
            ("a__b/c--d/e.f", "a__b/c--d/e.f", None),
        ] {
            let read = image(text).expect(text);
            assert_eq!((read.name.as_str(), read.tag.as_deref(), read.digest.as_deref()), (name, tag, None), "{text}");
            assert_eq!(read.to_string(), text);
            let with_digest = image(&format!("{text}@{DIGEST}")).expect(text);
            assert_eq!(with_digest.digest.as_deref(), Some(DIGEST));
        }
    }

    #[test]
    fn refused() {
        check::refused(
            image,
            &[
                "", ":1", "App", "app:", "app:1:2", "app/", "/app", "a//b", "app:-1", "app:a b", "a..b", "a___b", "-a",
                "a-",
            ],
        );
        check::refused(
            image,
            &[
                "app@",
                "app@sha256:1",
                "app@sha256",
                "@sha256:1",
                "http://host/app",
                "a_b.c:1/app",
                "host:x/app",
                "app\n",
            ],
        );
        let long = "a".repeat(256);
        check::refused(image, &[&DIGEST[7..], &long, &format!("app:{}", &long[..129])]);
        check::says(
            image,
            "myApp:1.0",
            r#"invalid image "myApp:1.0": its name has capital letters; write it like app:1.0 or registry.example:5000/team/app:1.0"#,
        );
    }

    #[test]
    fn unpinned() {
        let unpinned = |text: &str| image(text).map(|image| image.is_unpinned());
        assert_eq!(unpinned("app"), Ok(true));
        assert_eq!(unpinned("app:latest"), Ok(true));
        assert_eq!(unpinned("app:1"), Ok(false));
        assert_eq!(unpinned(&format!("app@{DIGEST}")), Ok(false));
    }
}
