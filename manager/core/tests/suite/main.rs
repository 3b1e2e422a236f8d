//! The core against a fake cluster: scenarios as text with their whole trace, and properties over random histories.

mod agents;
mod nonsense;
mod promises;
mod properties;
mod rebalancing;
mod scenario;
mod spec;
mod trace;
mod world;
