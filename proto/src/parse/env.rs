//! Environment entries of flags and of `--env-file`.

use super::ParseError;

const ACCEPTED: &str = "write it like KEY=value, or KEY to pass on your own";

/// One environment variable as the user asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvEntry {
    /// `KEY=value`, complete.
    Given(String),
    /// The value that this variable has for the caller; left out where it has none.
    FromCaller(String),
}

/// `KEY=value`, or `KEY` alone.
pub fn env(text: &str) -> Result<EnvEntry, ParseError> {
    let refuse = |wrong: &str| ParseError::new("environment entry", text, wrong, ACCEPTED);
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (text, None),
    };
    if key.is_empty() {
        return Err(refuse("its name is empty"));
    }
    if text.contains('\0') {
        return Err(refuse("it has a zero byte"));
    }
    Ok(if value.is_some() { EnvEntry::Given(text.to_owned()) } else { EnvEntry::FromCaller(text.to_owned()) })
}

/// The lines of an environment file: blank lines and lines that start with `#` are left out; nothing is unquoted.
pub fn env_file(text: &str) -> Result<Vec<EnvEntry>, ParseError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let key = line.split('=').next().unwrap_or(line);
            if key.contains(char::is_whitespace) {
                return Err(ParseError::new("environment entry", line, "its name has spaces", ACCEPTED));
            }
            env(line)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    fn given(text: &str) -> EnvEntry {
        EnvEntry::Given(text.to_owned())
    }

    #[test]
    fn entries() {
        assert_eq!(env("A=b=c"), Ok(given("A=b=c")));
        assert_eq!(env("A="), Ok(given("A=")));
        assert_eq!(env("A"), Ok(EnvEntry::FromCaller("A".to_owned())));
        check::refused(env, &["", "=b", "A=\0"]);
    }

    #[test]
    fn files() {
        let file = "\u{feff}# comment\n\n  A=1\r\nB=two words \n   # more\nC\n";
        let expected = vec![given("A=1"), given("B=two words "), EnvEntry::FromCaller("C".to_owned())];
        assert_eq!(env_file(file), Ok(expected));
        assert_eq!(env_file(""), Ok(Vec::new()));
        let error = env_file("A=1\nexport B=2").expect_err("a shell script");
        assert_eq!(error.text, "export B=2");
        assert!(env_file("=1").is_err());
    }
}
