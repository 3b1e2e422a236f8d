//! Objects as JSON, in the shape and with the names of the Docker Engine API: durations in nanoseconds, memory in
//! bytes, cpu in billionths of a core. What that API has no word for (probes of the agent, pins, evidence) is added
//! beside it. A field that is not set is null here; printing leaves it out.

pub mod cluster;
pub mod node;
pub mod service;
pub mod spec;

use std::time::Duration;

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
