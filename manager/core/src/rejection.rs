//! Why a command changed nothing. The text is what the user reads.

use muster_proto::{
    id::{NodeId, ServiceId, TaskId},
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
        "service {0} has no previous spec to roll back to; it was never updated since it was created or rolled back"
    )]
    NoPreviousSpec(String),
    #[error("no node {0}; `muster node ls` lists them")]
    NoSuchNode(NodeId),
    #[error("no task {0}")]
    NoSuchTask(TaskId),
    #[error("node {0} exists already")]
    NodeExists(NodeId),
    #[error("the node has changed since it was read (version {read}, now {now}); read it again and repeat the change")]
    NodeChanged { read: Version, now: Version },
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
    #[error("a task cannot go back from where it is")]
    NotForward,
}
