//! The node side: a session to the managers, one small state machine for each task, executors that run containers,
//! health checks, and the ingress that carries traffic to them.
//!
//! Deliberately absent: anything of the manager. The agent knows its assignments and nothing of services, plans or
//! Raft.

pub mod agent;
pub mod clock;
pub mod dial;
pub mod executor;
pub mod guard;
pub mod ingress;

mod description;
mod health;
mod isolation;
mod roster;
mod routes;
mod session;
mod store;
mod task;
mod words;

pub use agent::{Agent, Config, Handle, OpenError, RemoveError, RunError, known_managers};
pub use isolation::sentinel::GuardCommand;
pub use session::acquaintance::LeftBehind;
