//! A whole manager behind its RPCs, with a user on one side and an agent made by hand on the other.

mod agent;
mod bench;
mod logs;
mod managers;
mod membership;
mod nodes;
mod rebalance;
mod requests;
mod services;
mod sessions;
mod trust;
