//! Everything two parts of Muster must agree on: domain types, ids, validation, the wire and the conversion between
//! the last two. Every other crate depends on this one and it depends on none of them.
//!
//! Deliberately absent: IO, clocks, randomness. Ids and times are made elsewhere and only carried here.
//!
//! [`v1`] holds the generated wire types. They stop at [`convert`]: code outside the RPC edges uses the domain types.

pub mod assignment;
pub mod cluster;
pub mod container;
pub mod convert;
pub mod endpoint;
pub mod health;
pub mod id;
pub mod isolation;
pub mod mount;
pub mod node;
pub mod parse;
pub mod pin;
pub mod placement;
pub mod resources;
pub mod restart;
pub mod rollout;
pub mod service;
pub mod show;
pub mod task;
pub mod task_state;
pub mod time;
pub mod trust;
pub mod validate;
pub mod version;
pub mod waiting;

pub mod v1 {
    //! The generated wire types of `proto/muster/v1/*.proto`.
    #![allow(missing_debug_implementations, unreachable_pub, clippy::all)]
    tonic::include_proto!("muster.v1");
}
