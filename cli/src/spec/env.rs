//! `--env`, `--env-file`: variables by value, or by name from the caller's environment.

use std::path::PathBuf;

use muster_proto::parse::{self, EnvEntry};

use crate::{error::Error, surroundings::Surroundings};

/// `KEY=value` each, a later one in the place of an earlier of the same key, and what to warn about. Files come first,
/// in order, so that `--env` overrides them.
pub fn collect(
    files: &[PathBuf],
    flags: &[EnvEntry],
    surroundings: &dyn Surroundings,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let mut entries = Vec::new();
    for path in files {
        let text = surroundings.read_file(path).map_err(|error| {
            Error::Failed(format!("cannot read the env file {}: {error}; name a file that exists", path.display()))
        })?;
        let read = parse::env_file(&text);
        entries.extend(read.map_err(|why| Error::Usage(format!("in the env file {}: {why}", path.display())))?);
    }
    entries.extend(flags.iter().cloned());
    let (mut variables, mut warnings) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry {
            EnvEntry::Given(variable) => set(&mut variables, variable),
            EnvEntry::FromCaller(key) => match surroundings.variable(&key) {
                Some(value) => set(&mut variables, format!("{key}={value}")),
                None => warnings
                    .push(format!("{key} is not set in your environment and is left out; write {key}=value to set it")),
            },
        }
    }
    Ok((variables, warnings))
}

#[must_use]
pub fn key(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(key, _)| key)
}

/// In the place of the variable of the same key, else at the end.
pub fn set(variables: &mut Vec<String>, variable: String) {
    match variables.iter_mut().find(|known| key(known) == key(&variable)) {
        Some(known) => *known = variable,
        None => variables.push(variable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fixed;

    fn check(files: &[&str], flags: &[&str]) -> Result<(Vec<String>, Vec<String>), Error> {
        let surroundings = Fixed::default()
            .variable("HOME", "/home/me")
            .file("a.env", "# made by hand\n\n A=1\nB=two words # kept\nHOME\n")
            .file("bad.env", "A=1\nB C=2\n");
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        let flags: Vec<EnvEntry> = flags.iter().map(|flag| parse::env(flag).unwrap()).collect();
        collect(&files, &flags, &surroundings)
    }

    #[test]
    fn flags_override_files_and_names_take_the_callers_value() {
        let (variables, warnings) = check(&["a.env"], &["A=3", "EMPTY=", "HOME", "NOT_SET"]).unwrap();
        assert_eq!(variables, ["A=3", "B=two words # kept", "HOME=/home/me", "EMPTY="]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("NOT_SET is not set"));
    }

    #[test]
    fn mistakes_say_where() {
        let error = check(&["bad.env"], &[]).unwrap_err();
        assert!(error.to_string().starts_with("in the env file bad.env: "), "{error}");
        assert_eq!(error.exit_code(), 2);
        let error = check(&["missing.env"], &[]).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the env file missing.env"), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
}
