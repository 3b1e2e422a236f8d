//! Which secret the user means: a file's, the environment's, or what is typed.

use std::path::{Path, PathBuf};

use super::seal::{Kind, Secret};
use crate::{error::Error, surroundings::Surroundings, terminal::Echo};

/// A passphrase in the environment, for scripts.
pub(super) const VARIABLE: &str = "MUSTER_PASSPHRASE";
/// Fewer can be tried through whatever the key derivation costs.
const PASSPHRASE_CHARS_MIN: usize = 8;
/// As many as the key has.
const KEY_FILE_BYTES_MIN: usize = 32;
/// A larger file is not a key, but named by mistake.
const KEY_FILE_BYTES_MAX: usize = 1 << 20;

#[derive(clap::Args, Clone, Debug, Default)]
pub struct SecretFlags {
    /// File with the passphrase in its first line (default: MUSTER_PASSPHRASE, else it is asked for)
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    pub passphrase_file: Option<PathBuf>,
    /// File whose content is the key: at least 32 random bytes, in place of a passphrase
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

impl SecretFlags {
    /// For a new backup: one that is not guessed at once, and typed twice.
    pub(super) fn choose(&self, surroundings: &dyn Surroundings) -> Result<Secret, Error> {
        if let Some(path) = &self.key_file {
            return key_file(path, Use::Seal, surroundings);
        }
        let passphrase = match self.given(surroundings)? {
            Some(given) => given,
            None => {
                let first = asked("passphrase for the backup: ", surroundings)?;
                long_enough(&first)?;
                if asked("the same again: ", surroundings)? != first {
                    return Err(Error::Failed("the two differ; nothing was made, try again".to_owned()));
                }
                first
            }
        };
        long_enough(&passphrase)?;
        Ok(Secret::Passphrase(passphrase))
    }

    /// For a backup that is there, and says itself which kind it wants.
    pub(super) fn recall(&self, kind: Kind, surroundings: &dyn Surroundings) -> Result<Secret, Error> {
        if let Some(path) = &self.key_file {
            return key_file(path, Use::Open, surroundings);
        }
        match (self.given(surroundings)?, kind) {
            // Whether it fits is for the file to say.
            (Some(given), Kind::Passphrase | Kind::KeyFile) => Ok(Secret::Passphrase(given)),
            (None, Kind::Passphrase) => asked("passphrase of the backup: ", surroundings).map(Secret::Passphrase),
            (None, Kind::KeyFile) => {
                Err(Error::Failed("this backup was sealed with a key file; name that with --key-file".to_owned()))
            }
        }
    }

    fn given(&self, surroundings: &dyn Surroundings) -> Result<Option<String>, Error> {
        let Some(path) = &self.passphrase_file else { return Ok(surroundings.variable(VARIABLE)) };
        let text = surroundings.read_file(path).map_err(|error| unreadable(path, &error))?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Some(line.to_owned())),
            Some(_) | None => Err(Error::Failed(format!(
                "the first line of {} is empty; write the passphrase into it",
                path.display()
            ))),
        }
    }
}

fn long_enough(passphrase: &str) -> Result<(), Error> {
    if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(Error::Failed(format!(
            "the passphrase is too short: whoever gets the backup could guess it; take {PASSPHRASE_CHARS_MIN} characters \
             or more"
        )));
    }
    Ok(())
}

fn asked(question: &str, surroundings: &dyn Surroundings) -> Result<String, Error> {
    match surroundings.ask(question, Echo::Hidden) {
        Ok(Some(typed)) => Ok(typed),
        Ok(None) => Err(Error::Failed(format!(
            "there is no terminal to ask for the passphrase on; give it with --passphrase-file or {VARIABLE}, or name a \
             --key-file"
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Err(Error::Told),
        Err(error) => Err(Error::Failed(format!(
            "cannot read the passphrase from the terminal: {error}; give it with --passphrase-file"
        ))),
    }
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Seal,
    /// There is such a key, and to make another helps nobody.
    Open,
}

fn key_file(path: &Path, to: Use, surroundings: &dyn Surroundings) -> Result<Secret, Error> {
    let key = surroundings.read_bytes(path).map_err(|error| unreadable(path, &error))?;
    let shown = path.display();
    match key.len() {
        KEY_FILE_BYTES_MIN..=KEY_FILE_BYTES_MAX => Ok(Secret::KeyFile(key)),
        0..KEY_FILE_BYTES_MIN => Err(Error::Failed(match to {
            Use::Seal => format!(
                "the key file {shown} has fewer than {KEY_FILE_BYTES_MIN} bytes; make one with `head -c 32 /dev/urandom \
                 > {shown}`"
            ),
            Use::Open => format!(
                "the key file {shown} has fewer than {KEY_FILE_BYTES_MIN} bytes, so no backup was sealed with it as it \
                 is; name the one that was used, or a copy of it"
            ),
        })),
        _ => Err(Error::Failed(format!("the key file {shown} is larger than 1 MiB; is it the one you mean?"))),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Failed(format!("cannot read {}: {error}; name another file", path.display()))
}
