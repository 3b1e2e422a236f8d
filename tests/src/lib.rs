//! What the end-to-end tests and the benchmarks share: daemons as real processes, the command line, the engine.
//!
//! Everything made here is removed by the id it was made with, also when a test fails.

pub mod cluster;
pub mod daemon;
pub mod engine;
pub mod host_engine;
pub mod private_engine;
pub mod registry;
pub mod settings;
pub mod small_disk;
pub mod wait;
