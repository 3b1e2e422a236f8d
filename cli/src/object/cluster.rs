//! The cluster as the daemon tells it.

use muster_proto::{cluster::ClusterSpec, time::Timestamp, v1};

use super::{missing, unreadable};
use crate::error::Error;

#[derive(Clone, Debug)]
pub struct Cluster {
    pub id: String,
    pub version: u64,
    pub created_at: Timestamp,
    pub incarnation: u64,
    pub spec: ClusterSpec,
    pub managers: u32,
    pub nodes: u32,
    pub services: u32,
    pub tasks_running: u32,
}

impl TryFrom<v1::GetClusterResponse> for Cluster {
    type Error = Error;

    fn try_from(told: v1::GetClusterResponse) -> Result<Self, Error> {
        let spec = told.spec.ok_or_else(|| missing("the cluster's settings"))?;
        Ok(Self {
            id: told.id,
            version: told.version,
            created_at: Timestamp::from_millis(told.created_at),
            incarnation: told.incarnation,
            spec: spec.try_into().map_err(|why| unreadable("the cluster's settings", why))?,
            managers: told.managers,
            nodes: told.nodes,
            services: told.services,
            tasks_running: told.tasks_running,
        })
    }
}
