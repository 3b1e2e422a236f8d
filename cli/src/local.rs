//! Commands about this host and its daemon.

pub mod info;
pub mod init;
pub mod leave;
pub mod version;
