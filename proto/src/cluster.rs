//! What holds for the cluster as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    id::ClusterId,
    time::Timestamp,
    version::{RaftId, Version},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Ended tasks kept for each slot.
    pub task_history_limit: u32,
    /// The longest that passes between two; there are at least ten in a lease.
    pub heartbeat: Duration,
    /// A node that is silent for this long is down.
    pub lease: Duration,
    /// The memory limit of a service that asks for none. Zero: none.
    pub default_memory_limit_bytes: u64,
    /// The limit on processes of a service that asks for none. Zero: none.
    pub default_pids_limit: u64,
    /// How long a node's certificate is good for; nodes renew theirs well before.
    #[serde(default = "ninety_days")]
    pub certificate_validity: Duration,
    /// Move tasks to nodes that join or come back, a few at a time.
    #[serde(default, skip_serializing_if = "is_off")]
    pub auto_rebalance: bool,
}

impl ClusterSpec {
    /// Of ended tasks in a slot: more than anybody looks through.
    pub const TASK_HISTORY_MAX: u32 = 100;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_off(auto_rebalance: &bool) -> bool {
    !*auto_rebalance
}

/// What Swarm gives its nodes.
fn ninety_days() -> Duration {
    Duration::from_secs(90 * 24 * 60 * 60)
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            task_history_limit: 5,
            heartbeat: Duration::from_secs(1),
            lease: Duration::from_secs(3),
            default_memory_limit_bytes: 1 << 30,
            default_pids_limit: 4096,
            certificate_validity: ninety_days(),
            auto_rebalance: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub id: ClusterId,
    pub version: Version,
    pub created_at: Timestamp,
    pub spec: ClusterSpec,
    /// The next to be given.
    #[serde(default = "second_raft_id")]
    pub next_raft_id: RaftId,
    /// What the last change made shorter.
    #[serde(default)]
    pub former_lease: Option<FormerLease>,
    /// Counted up when the cluster is recovered or restored: managers of an earlier one are refused.
    #[serde(default = "first_incarnation")]
    pub incarnation: u64,
}

/// A lease that agents were granted before a change, and may count on where they have not heard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerLease {
    pub lease: Duration,
    pub changed_at: Timestamp,
}

/// The first manager has the first.
fn second_raft_id() -> RaftId {
    RaftId(2)
}

fn first_incarnation() -> u64 {
    1
}
