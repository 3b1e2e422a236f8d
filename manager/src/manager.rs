//! A manager as the daemon sees it: open it, hand its handle to whoever serves, run it until told to stop.

use std::{path::PathBuf, sync::Arc};

use muster_proto::{
    cluster::ClusterSpec,
    id::{ClusterId, NodeId},
};

use crate::{
    dispatcher::sessions::Sessions, leases::Leases, preflight::Preflight, replica::Replica, reports::ReportBatcher,
    streams::Streams,
};

#[derive(Clone, Debug)]
pub struct Config {
    /// The daemon's folder; the manager keeps to `manager/` in it.
    pub data_dir: PathBuf,
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    /// This manager's number in the Raft group. Never used again once its store is lost.
    pub raft_id: u64,
    /// Where the others reach this node: `host:port`.
    pub advertise_addr: String,
    pub preflight: Arc<dyn Preflight>,
}

/// Makes a new cluster of this one manager. Repeating it after a crash completes what was begun.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    pub spec: ClusterSpec,
}

/// What the services of this manager work with.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) config: Config,
    pub(crate) replica: Replica,
    pub(crate) leases: Leases,
    pub(crate) reports: ReportBatcher,
    pub(crate) sessions: Sessions,
    /// Closed when the manager stops, before the replica: open streams would hold up the server.
    pub(crate) streams: Streams,
}

impl Handle {
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    #[must_use]
    pub fn reports(&self) -> &ReportBatcher {
        &self.reports
    }
}
