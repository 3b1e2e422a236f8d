//! The shell around [`muster_core`]: it stores and replicates the log, applies it, runs the leader loop and serves the
//! RPCs. The only crate that knows openraft.
//!
//! Deliberately absent: decisions. What should happen is decided in `muster_core`; here it is carried out.

// Openraft's storage traits return its own large error by value; it is made once, when everything ends.
#![allow(clippy::result_large_err)]

pub mod authorization;
pub mod backup;
pub mod ca;
pub mod changes;
pub mod clock;
mod compaction;
pub mod connect;
pub mod control;
pub mod digest;
pub mod dispatcher;
mod failure;
pub mod forward;
pub mod founding;
pub mod group;
mod leader;
pub mod leadership;
pub mod leases;
mod logs;
mod machine;
pub mod manager;
mod managers;
pub mod membership;
pub mod outside;
mod pace;
pub mod preflight;
mod proposer;
mod quorum;
pub mod raft;
pub mod reach;
mod read_point;
pub mod recovery;
pub mod replica;
pub mod reports;
mod room;
mod rotation;
pub(crate) mod snapshots;
mod status;
mod storage;
mod streams;

pub use manager::{Bootstrap, Config, Handle, Manager, OpenError, RunError, Start};
pub use outside::Outside;
pub use storage::OpenError as StorageError;
