//! Image names as users write them: `[host/]name[:tag][@digest]`.

/// Docker's own registry and its namespace of official images, which short names leave out.
const DEFAULT_REGISTRIES: [&str; 2] = ["docker.io/", "index.docker.io/"];
const DEFAULT_NAMESPACE: &str = "library/";
const DEFAULT_TAG: &str = "latest";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    pub(super) name: &'a str,
    pub(super) tag: Option<&'a str>,
    pub(super) digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    pub(super) fn parse(image: &'a str) -> Self {
        let (rest, digest) = match image.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (image, None),
        };
        // A colon before the last slash belongs to a registry's port.
        let path_begin = rest.rfind('/').map_or(0, |slash| slash + 1);
        match rest[path_begin..].find(':') {
            Some(colon) => {
                let at = path_begin + colon;
                Self { name: &rest[..at], tag: Some(&rest[at + 1..]), digest }
            }
            None => Self { name: rest, tag: None, digest },
        }
    }

    /// What to ask the engine for. Asked for a name alone, it would pull every tag there is.
    pub(super) fn tagged(&self) -> String {
        match self.digest {
            Some(digest) => self.at(digest),
            None => format!("{}:{}", self.name, self.tag_or_default()),
        }
    }

    pub(super) fn tag_or_default(&self) -> &'a str {
        self.tag.unwrap_or(DEFAULT_TAG)
    }

    pub(super) fn at(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name)
    }

    /// The name inside its registry.
    pub(super) fn path(&self) -> &'a str {
        match self.name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
            Some(_) | None => self.name,
        }
    }

    /// The name as the engine shows it in RepoDigests.
    fn familiar(&self) -> &'a str {
        let name = DEFAULT_REGISTRIES.iter().find_map(|host| self.name.strip_prefix(host)).unwrap_or(self.name);
        name.strip_prefix(DEFAULT_NAMESPACE).unwrap_or(name)
    }

    /// The digest that the engine knows this very name by; an image may carry those of other names too.
    pub(super) fn digest_among<'b>(&self, repo_digests: &'b [String]) -> Option<&'b str> {
        repo_digests.iter().find_map(|known| {
            let (name, digest) = known.split_once('@')?;
            (Reference { name, tag: None, digest: None }.familiar() == self.familiar()).then_some(digest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_no_registry() {
        for (name, path) in [("web", "web"), ("a/web", "a/web"), ("host:5000/a/web", "a/web"), ("localhost/web", "web")]
        {
            assert_eq!(Reference::parse(name).path(), path);
        }
    }

    #[test]
    fn splits_name_tag_and_digest() {
        let parts = |image| {
            let Reference { name, tag, digest } = Reference::parse(image);
            (name, tag, digest)
        };
        assert_eq!(parts("web"), ("web", None, None));
        assert_eq!(parts("web:1.0"), ("web", Some("1.0"), None));
        assert_eq!(parts("10.0.0.1:5000/a/web"), ("10.0.0.1:5000/a/web", None, None));
        assert_eq!(parts("host:5000/web:2"), ("host:5000/web", Some("2"), None));
        assert_eq!(parts("web:1@sha256:ab"), ("web", Some("1"), Some("sha256:ab")));
    }

    #[test]
    fn asks_for_one_tag() {
        assert_eq!(Reference::parse("web").tagged(), "web:latest");
        assert_eq!(Reference::parse("web:1@sha256:ab").tagged(), "web@sha256:ab");
    }

    #[test]
    fn finds_the_digest_of_its_own_name_only() {
        let known = ["other@sha256:aa".to_owned(), "nginx@sha256:bb".to_owned(), "h:5000/web@sha256:cc".to_owned()];
        let digest = |image| Reference::parse(image).digest_among(&known);
        assert_eq!(digest("docker.io/library/nginx:1"), Some("sha256:bb"));
        assert_eq!(digest("h:5000/web"), Some("sha256:cc"));
        assert_eq!(digest("web"), None);
    }
}
