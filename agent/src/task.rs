//! One task of this node, from its assignment to its removal.
//!
//! [`machine`] says what to do next, [`verdict`] what an executor's answer means, [`ending`] what a task that ended
//! is said to be; all three are pure. [`actor`] carries it out: one for each assignment, owned by the roster.

pub(crate) mod actor;
mod context;
mod ending;
#[cfg(test)]
pub(crate) mod fixture;
mod grace;
mod machine;
mod steps;
mod story;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use context::{Context, Directory};
