//! What the log needs of a store: ordered keys, atomic batches, and a point after which they survive power loss. A
//! journal stands behind it here, a simulated disk in simulation.

use std::io;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put { key: Vec<u8>, value: Vec<u8> },
    Delete { key: Vec<u8> },
}

impl Write {
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }

    /// Of its value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Write::Put { value, .. } => value.len(),
            Write::Delete { .. } => 0,
        }
    }
}

pub type Pair = (Vec<u8>, Vec<u8>);

pub trait Store: std::fmt::Debug + Send + Sync + 'static {
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Keys from `from`, included, to `to`, excluded, in order, until their values take `bytes_max`; at least one where
    /// there is one.
    fn range(&self, from: &[u8], to: &[u8], bytes_max: usize) -> io::Result<Vec<Pair>>;

    /// As [`Store::range`], all of them and without their values.
    fn keys(&self, from: &[u8], to: &[u8]) -> io::Result<Vec<Vec<u8>>>;

    /// All or nothing, in the order of the calls, readable on return. Durable only after [`Store::make_durable`].
    fn write(&self, batch: Vec<Write>) -> io::Result<()>;

    /// Blocks until everything written before the call survives power loss.
    fn make_durable(&self) -> io::Result<()>;

    /// What is to be done now and then, and by nobody waited for: called after [`Store::make_durable`], by the same thread.
    fn tidy_up(&self) -> io::Result<()> {
        Ok(())
    }
}
