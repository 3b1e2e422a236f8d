//! The `muster` program: the commands of users, and the wiring of the daemon.
//!
//! A command turns flags into a request ([`spec`]), sends it to the daemon of this host ([`connect`]), reads the answer
//! ([`object`]) and lays it out ([`format`], [`view`]); [`wait`] follows a service until it is as asked. All output goes
//! through [`out`], all failures through [`error`].
//!
//! Deliberately absent: knowledge of how a cluster decides. What a command says about a service it has from the daemon's
//! answers.

pub mod app;
pub mod backup;
pub mod ca;
pub mod cluster;
pub mod connect;
pub mod context;
pub mod daemon;
pub mod demo;
pub mod error;
pub mod filter;
pub mod flags;
pub mod format;
pub mod join_token;
pub mod local;
pub mod node;
pub mod object;
pub mod out;
pub mod rebalance;
pub mod service;
pub mod spec;
pub mod surroundings;
pub mod terminal;
#[cfg(test)]
mod testing;
pub mod view;
pub mod wait;

pub use app::run;
