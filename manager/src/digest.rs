//! A digest of this manager's copy of the state, by which managers are compared from outside: those that applied as
//! much must have the same.
//!
//! Made when asked for, as `muster info --state-digest` does; nothing decides by it.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use muster_core::state::{State, snapshot::Snapshot};
use ring::digest::{Context, SHA256};

use crate::replica::Replica;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDigest {
    /// Of the last command that was applied.
    pub applied_index: u64,
    /// SHA-256 of the state as a snapshot holds it, in hexadecimal digits.
    pub digest: String,
}

struct Hasher(Context);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Replica {
    /// As far as this manager has applied the log; it asks no other. Takes as long as a snapshot: keep it off a
    /// runtime's threads.
    pub fn state_digest(&self) -> io::Result<StateDigest> {
        of(&self.read(State::clone))
    }
}

fn of(state: &State) -> io::Result<StateDigest> {
    let mut hasher = Hasher(Context::new(&SHA256));
    rmp_serde::encode::write_named(&mut hasher, &Snapshot::of(state)).map_err(io::Error::other)?;
    let mut digest = String::new();
    for byte in hasher.0.finish().as_ref() {
        // Writing to a string cannot fail.
        let _written = write!(digest, "{byte:02x}");
    }
    Ok(StateDigest { applied_index: state.applied().index, digest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_state_has_the_same_digest() {
        let (one, other) = (of(&State::default()).unwrap(), of(&State::default()).unwrap());
        assert_eq!(one, other);
        assert_eq!((one.applied_index, one.digest.len()), (0, 64));
    }
}
