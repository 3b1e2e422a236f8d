//! Commands about this host and its daemon.

pub mod info;
pub mod init;
pub mod join;
pub mod leave;
pub mod recover;
pub mod version;
