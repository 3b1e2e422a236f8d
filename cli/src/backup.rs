//! `muster backup` and `muster restore`: the cluster's state in a sealed file, and back out of it.

pub mod create;
mod file;
pub mod restore;
mod seal;
mod secret;
