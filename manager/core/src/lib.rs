//! The decisions of a manager: what the replicated state is, how a command changes it, and what should happen next.
//!
//! Called by the manager's state machine ([`apply::apply`]), its leader loop ([`plan::plan`]) and its dispatcher
//! ([`assign`]). Calls nobody.
//!
//! Deliberately absent: async, IO, clocks, randomness, hash maps, environment. Time arrives as a value, ids from an
//! [`plan::IdSource`]; every choice ends in a tie-break on an id. `clippy.toml` holds this crate to it.

pub mod action;
pub mod apply;
pub mod assign;
pub mod command;
mod effect;
pub mod liveness;
pub mod plan;
pub mod recovery;
pub mod rejection;
pub mod state;
pub mod terms;
