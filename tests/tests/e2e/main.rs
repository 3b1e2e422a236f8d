//! The product through its own doors: real daemons, the real command line, real containers.

mod bad_input;
mod chaos;
mod containers;
mod crash;
mod demo;
mod deploy;
mod engine_restart;
mod hosts;
mod nodes;
mod pinning;
mod rollout;
mod services;
mod store;

/// The binary under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");
