//! From flags to a [`muster_proto::service::ServiceSpec`]: pure functions, called by `service create` and
//! `service update`. What single values look like is `muster_proto::parse`'s business; whether a spec holds together
//! is `muster_proto::validate`'s.

pub mod build;
pub mod change;
pub mod env;
pub mod flags;
pub mod health;
pub mod keyed;
pub mod name;
pub mod order;
pub mod rollout;
#[cfg(test)]
mod tests;
pub mod words;
