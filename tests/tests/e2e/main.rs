//! The product through its own doors: real daemons, the real command line, real containers.

mod at_most_one;
mod bad_input;
mod certificates;
mod chaos;
mod cluster;
mod containers;
mod crash;
mod cuts;
mod dead_hosts;
mod demo;
mod deploy;
mod disk;
mod engine_restart;
mod failover;
mod hosts;
mod membership;
mod nodes;
mod pinning;
mod power;
mod rebalance;
mod recovery;
mod requests;
mod rollout;
mod services;
mod store;

/// The binary under test.
const MUSTER: &str = env!("CARGO_BIN_EXE_muster-under-test");
