//! Values as users read them, in the docker CLI's form: the counterpart of [`crate::parse`].
//!
//! Called wherever text for people is made: the command line and messages. Nothing here reads a clock or a terminal;
//! layout and colour are the caller's.

mod age;
mod bytes;
mod cpus;
mod duration;
mod ports;

pub use age::age;
pub use bytes::bytes;
pub use cpus::cpus;
pub use duration::duration;
pub use ports::ports;
