//! Labels: `KEY=value`.

use super::ParseError;

/// `key=value`, or `key` alone for an empty value.
pub fn key_value(text: &str) -> Result<(String, String), ParseError> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() || key.contains(char::is_whitespace) {
        let wrong = if key.is_empty() { "its name is empty" } else { "its name has spaces" };
        return Err(ParseError::new("label", text, wrong, "write it like key=value or key"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn labels() {
        for (text, key, value) in [("a=b", "a", "b"), ("a", "a", ""), ("a=", "a", ""), ("a=b=c d", "a", "b=c d")] {
            assert_eq!(key_value(text), Ok((key.to_owned(), value.to_owned())), "{text}");
        }
        check::refused(key_value, &["", "=b", "a b=c", " a=b"]);
        check::says(key_value, "=b", r#"invalid label "=b": its name is empty; write it like key=value or key"#);
    }
}
