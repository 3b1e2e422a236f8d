//! Several managers over gRPC on loopback: forming, failing over, handing over, and who is let in no more.

mod bench;
mod commands;
mod disk;
mod formats;
mod group;
mod leaders;
mod roles;
mod snapshots;
