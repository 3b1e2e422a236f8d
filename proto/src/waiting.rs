//! Why nothing happens. The planner makes these values, stores them with the object and hands them to the user as
//! they are: there is no second place that guesses.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{placement::Constraint, show, time::Timestamp};

/// What one filter found on the nodes it refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Refusal {
    NodeDown,
    /// No session with this leader yet.
    NodeUnknown,
    NodePaused,
    NodeDrained,
    EngineUnavailable(String),
    /// Nanocpus: asked, and the most that any of these nodes has free.
    Cpu {
        asked: u64,
        free_max: u64,
    },
    /// Bytes: asked, and the most that any of these nodes has free.
    Memory {
        asked: u64,
        free_max: u64,
    },
    Constraint(Constraint),
    HostPort(u16),
    MaxReplicas(u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitingOn {
    /// No node passes every filter: how many nodes each refusal holds for, most first.
    NoSuitableNode { nodes: u32, refusals: Vec<(u32, Refusal)> },
    /// The cluster has no nodes that have ever had a session.
    NoNodes,
    /// The restart policy's pause.
    RestartDelay { until: Timestamp },
    /// Stop-first: the slot's old task has not ended.
    Predecessor,
    /// The task ended and the restart policy allows no further attempt.
    RestartsUsedUp { max_attempts: u32 },
    /// At most one of the slot may run, and the task before is on a node that is cut off: it is stopped there by then.
    Isolation { until: Timestamp },
    /// Its node is drained, or it is part of a rebalance, and as many other tasks of the service as its update parallelism allows are moving.
    Turn,
    /// Many nodes went down at once: their tasks are not replaced before then, and with None (most nodes did) not
    /// before some return or the operator gives them up.
    Outage { until: Option<Timestamp> },
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NodeDown => out.write_str("down"),
            Refusal::NodeUnknown => out.write_str("not heard from yet"),
            Refusal::NodePaused => out.write_str("paused"),
            Refusal::NodeDrained => out.write_str("drained"),
            Refusal::EngineUnavailable(why) => write!(out, "engine unavailable: {why}"),
            Refusal::Cpu { asked, free_max } => {
                write!(out, "{} cpu asked, at most {} free", show::cpus(*asked), show::cpus(*free_max))
            }
            Refusal::Memory { asked, free_max } => {
                write!(out, "{} memory asked, at most {} free", show::bytes(*asked), show::bytes(*free_max))
            }
            Refusal::Constraint(constraint) => write!(out, "constraint {constraint} not met"),
            Refusal::HostPort(port) => write!(out, "host port {port} in use"),
            Refusal::MaxReplicas(max) => write!(out, "at its limit of {max} replicas per node"),
        }
    }
}

impl fmt::Display for WaitingOn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitingOn::NoSuitableNode { nodes, refusals } => {
                let s = if *nodes == 1 { "" } else { "s" };
                write!(out, "no suitable node among {nodes} node{s}: ")?;
                for (place, (count, refusal)) in refusals.iter().enumerate() {
                    write!(out, "{}{count} {refusal}", if place == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            WaitingOn::NoNodes => out.write_str("no node has joined with a working agent"),
            WaitingOn::RestartDelay { until } => write!(out, "restart delayed until {until}"),
            WaitingOn::Predecessor => out.write_str("the slot's previous task has not stopped"),
            WaitingOn::RestartsUsedUp { max_attempts } => {
                write!(out, "all {max_attempts} restarts are used up; update the service, or use --force")
            }
            WaitingOn::Isolation { until } => {
                write!(out, "the slot's previous task is on a node that is cut off, which stops it by {until}")
            }
            WaitingOn::Turn => out.write_str("it moves to another node once others of the service have"),
            WaitingOn::Outage { until: Some(until) } => {
                write!(out, "many nodes went down at once; unless more follow it is replaced at {until}")
            }
            WaitingOn::Outage { until: None } => out.write_str(
                "most nodes went down at once, so it is not replaced until some return; drain or remove those that will \
                 not",
            ),
        }
    }
}
