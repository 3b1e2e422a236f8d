//! Small pieces of text that several tables share.

use std::collections::BTreeMap;

use muster_proto::{show, time::Timestamp};

/// Characters of an id that tables show, as docker does.
pub const SHORT_ID_LEN: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncate {
    Short,
    Full,
}

impl Truncate {
    /// What `--no-trunc` says.
    #[must_use]
    pub fn unless(no_trunc: bool) -> Self {
        if no_trunc { Truncate::Full } else { Truncate::Short }
    }

    #[must_use]
    pub fn id(self, id: &str) -> String {
        match self {
            Truncate::Short => id.chars().take(SHORT_ID_LEN).collect(),
            Truncate::Full => id.to_owned(),
        }
    }

    /// The image without the digest somebody wrote behind its tag.
    #[must_use]
    pub fn image(self, image: &str) -> String {
        match (self, image.split_once("@sha256:")) {
            (Truncate::Short, Some((name, _))) if name.contains(':') => name.to_owned(),
            (Truncate::Short | Truncate::Full, _) => image.to_owned(),
        }
    }
}

#[must_use]
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Without line breaks, which would break a table, and without a terminal's codes, which would break the terminal.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `1 task`, `3 tasks`.
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `5 seconds ago`, in docker's words.
#[must_use]
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", show::age(now.since(then)).to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_loses_its_digest_only_where_a_tag_remains() {
        assert_eq!(Truncate::Short.image("a:1@sha256:00"), "a:1");
        assert_eq!(Truncate::Short.image("a@sha256:00"), "a@sha256:00");
        assert_eq!(Truncate::Full.image("a:1@sha256:00"), "a:1@sha256:00");
    }
}
