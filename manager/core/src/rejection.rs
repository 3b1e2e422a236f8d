//! Why a command changed nothing. The text is what the user reads.

use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
    node::Role,
    version::{Term, Version},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    #[error("this cluster exists already")]
    ClusterExists,
    #[error("there is no cluster yet; run `muster init` first")]
    NoCluster,
    #[error(
        "a service named {name} exists already (id {id}); choose another name, or change it with `muster service update {name}`"
    )]
    NameTaken { name: String, id: ServiceId },
    #[error("no service {0}; `muster service ls` lists them")]
    NoSuchService(ServiceId),
    #[error(
        "the service has changed since it was read (version {read}, now {now}); read it again and repeat the change"
    )]
    ServiceChanged { read: Version, now: Version },
    #[error("port {port} is published by service {by} already; choose another port or remove it there")]
    PortTaken { port: u16, by: String },
    #[error("port {0} is published twice; publish it once")]
    PortRepeated(u16),
    #[error("no free port is left in {first}-{last}; publish on a port of your choice")]
    NoFreePort { first: u16, last: u16 },
    #[error("a service cannot change between replicated and global; remove it and create it anew")]
    ModeChanged,
    #[error("a service cannot be renamed (it is {0}); remove it and create it anew")]
    NameChanged(String),
    #[error(
        "service {0} has no previous spec to roll back to: it was never updated since it was created or rolled back; change it with `muster service update {0}` and the flags that you want"
    )]
    NoPreviousSpec(String),
    #[error(
        "no rollout of service {0} is under way, so there is none to pause; `muster service update {0}` begins one"
    )]
    NothingToPause(String),
    #[error("the rollout of service {0} is paused already; go on with `muster service resume {0}`")]
    PausedAlready(String),
    #[error(
        "no rollout of service {0} is paused; `muster service inspect --pretty {0}` shows how far the last one came"
    )]
    NothingToResume(String),
    #[error(
        "the update of service {0} waits with its canaries; go on with `muster service promote {0}`, or back with `muster service rollback {0}`"
    )]
    WaitsForPromotion(String),
    #[error(
        "service {0} has no canary to promote; an update with one is begun with `muster service update --canary 1 --image IMAGE {0}`"
    )]
    NoCanary(String),
    #[error(
        "the canaries of service {0} have not shown yet that they work; wait until `muster service inspect --pretty {0}` says that they have"
    )]
    CanaryNotReady(String),
    #[error("no node {0}; `muster node ls` lists them")]
    NoSuchNode(NodeId),
    #[error("no task {0}")]
    NoSuchTask(TaskId),
    #[error("node {0} exists already")]
    NodeExists(NodeId),
    #[error("the node has changed since it was read (version {read}, now {now}); read it again and repeat the change")]
    NodeChanged { read: Version, now: Version },
    #[error(
        "node {node} uses the address {address} already; give the new node another with --advertise-addr, or take the old one out first with `muster node rm {node}`"
    )]
    AddressTaken { address: String, node: NodeId },
    #[error("node {0} was removed from this cluster; run `muster leave --force` there and join it again")]
    NodeRemoved(NodeId),
    #[error("node {0} has joined with another key; run `muster leave --force` there and join it again")]
    OtherKey(NodeId),
    #[error(
        "the cluster has settings of a newer version (read {read}, now {now}); read them again and repeat the change"
    )]
    ClusterChanged { read: Version, now: Version },
    #[error(
        "the join token is not valid: it was mistyped, rotated, has expired or is used up; print one that is with `muster join-token worker` or `manager` on a manager"
    )]
    TokenUnknown,
    #[error("the join token has expired; print another with `muster join-token {role}` on a manager")]
    TokenExpired { role: Role },
    #[error("the join token is used up; print another with `muster join-token {role}` on a manager")]
    TokenUsedUp { role: Role },
    #[error(
        "{0} join tokens are in use already; void them with `muster join-token worker --rotate` or `manager --rotate`"
    )]
    TooManyTokens(usize),
    #[error(
        "the host's muster reads log entries up to format {reads} and the cluster uses format {uses}; upgrade muster there first"
    )]
    ReadsOlderLog { reads: u16, uses: u16 },
    #[error("node {0} is the only manager; promote another first with `muster node promote`")]
    LastManager(NodeId),
    #[error("node {0} is {1} by now; ask for its certificate again")]
    OtherRole(NodeId, Role),
    #[error("the cluster has no certificate authority; it was made by an older muster and has to be made anew")]
    NoAuthority,
    #[error("a rotation of the root certificate is under way; `muster ca rotate` tells what it waits for")]
    RotationUnderWay,
    #[error("node {0} has not shown a certificate of the new root yet")]
    NotCertified(NodeId),
    #[error("the slot's tasks have changed since the plan was made")]
    SlotChanged,
    #[error("the task has changed since the plan was made")]
    TaskChanged,
    #[error("the plan was made in term {made}, this is term {now}")]
    StaleTerm { made: Term, now: Term },
    #[error("the report is about a superseded assignment")]
    StaleFence,
    #[error("the template is no longer the service's")]
    StaleTemplate,
    #[error("the task does not serve, is on that node, or is to move already")]
    CannotMove,
    #[error("a task cannot go back from where it is")]
    NotForward,
}
