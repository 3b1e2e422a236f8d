//! What users write, read into the domain as the docker CLI reads it.
//!
//! Called by the command line for flags and by [`crate::convert`] for the few things that travel as text. One file for
//! each kind of text. Every function takes the whole text and accepts it whole or refuses it with a [`ParseError`];
//! none of them looks anything up, and whether values fit together is for [`crate::validate`].

mod address;
mod choice;
mod constraint;
mod cpus;
mod dns_name;
mod duration;
mod env;
mod health;
pub mod image;
mod key_value;
mod memory;
mod mount;
mod number;
mod options;
mod port;
mod signal;
mod truth;
mod ulimit;

use std::fmt;

pub use address::{Address, address};
pub use choice::{
    availability, failure_action, on_isolation, protocol, publish_mode, restart_condition, role, update_order,
};
pub use constraint::{constraint, node_field, preference};
pub use cpus::cpus;
pub(crate) use dns_name::is_dns_name;
pub use duration::duration;
pub use env::{EnvEntry, env, env_file};
pub use health::{health_http, health_tcp};
pub use image::{ImageReference, image};
pub use key_value::key_value;
pub use memory::memory;
pub use mount::mount;
pub use number::{ratio, replicas, scale, whole};
pub use port::port;
pub use signal::signal;
pub use truth::truth;
pub use ulimit::{ULIMIT_NAMES, ulimit};

/// Why a text was refused: `invalid duration "10": it has no unit; write it like 10s, 1m30s or 500ms`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {}: {wrong}; {accepted}", Quoted(text))]
pub struct ParseError {
    /// What the text should have been: `duration`.
    pub what: &'static str,
    pub text: String,
    /// What is wrong with it.
    pub wrong: String,
    /// What would be accepted.
    pub accepted: String,
}

impl ParseError {
    fn new(what: &'static str, text: &str, wrong: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { what, text: text.to_owned(), wrong: wrong.into(), accepted: accepted.into() }
    }
}

/// `-1`, `-5s`: less than nothing, whatever its unit; as opposed to another flag that was taken for a value.
fn is_negative(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

/// A user's text in an error: in quotes, without control characters that could move a terminal's cursor, and cut where
/// more would only hide the sentence around it.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Quoted<'_> {
    const CHARS_MAX: usize = 120;
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(Self::CHARS_MAX) {
            Some((end, _)) => write!(out, "{:?}…", &self.0[..end]),
            None => write!(out, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
pub(crate) mod check {
    //! Tables of good and bad texts.
    use std::fmt::Debug;

    use super::ParseError;

    /// Everything in `texts` is refused, in a sentence that names the text.
    pub(crate) fn refused<T: Debug>(read: impl Fn(&str) -> Result<T, ParseError>, texts: &[&str]) {
        for text in texts {
            let error = read(text).expect_err(text);
            assert_eq!(error.text, *text);
        }
    }

    /// `text` is refused with exactly this.
    pub(crate) fn says<T: Debug>(read: impl Fn(&str) -> Result<T, ParseError>, text: &str, expected: &str) {
        assert_eq!(read(text).expect_err(text).to_string(), expected);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quoted_text_is_short_and_cannot_move_the_cursor() {
        assert_eq!(Quoted("a\u{1b}[2J\n").to_string(), r#""a\u{1b}[2J\n""#);
        assert_eq!(Quoted(&"é".repeat(5_000)).to_string().chars().count(), 123);
    }

    /// Texts that get past the first look of some reader, and any others.
    fn text() -> impl Strategy<Value = String> {
        let near = "(node\\.(ip|id|role|labels\\.)|spread|nofile|target|type|SIG|RTMIN|\\[)?[-=!:/@.,0-9a-zé ]{0,24}";
        prop_oneof![near, any::<String>()]
    }

    fn refusal<T>(read: Result<T, ParseError>) -> Option<ParseError> {
        read.err()
    }

    proptest! {
        /// Read or refused in words, never a panic.
        #[test]
        fn any_text_is_survived(text in text()) {
            let refusals = [
                refusal(address(&text)),
                refusal(availability(&text)),
                refusal(constraint(&text)),
                refusal(cpus(&text)),
                refusal(duration(&text)),
                refusal(env(&text)),
                refusal(env_file(&text)),
                refusal(health_http(&text)),
                refusal(health_tcp(&text)),
                refusal(image(&text)),
                refusal(key_value(&text)),
                refusal(memory(&text)),
                refusal(mount(&text)),
                refusal(port(&text)),
                refusal(preference(&text)),
                refusal(ratio(&text)),
                refusal(replicas(&text)),
                refusal(scale(&text)),
                refusal(signal(&text)),
                refusal(truth(&text)),
                refusal(ulimit(&text)),
                refusal(whole(&text, 1..=500_u32)),
            ];
            for refusal in refusals.into_iter().flatten() {
                prop_assert!(!refusal.wrong.is_empty() && !refusal.accepted.is_empty(), "{refusal}");
                prop_assert!(!refusal.to_string().contains(char::is_control), "{refusal}");
            }
        }
    }
}
