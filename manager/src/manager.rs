//! A manager as the daemon sees it: open it, hand its handle to whoever serves, run it until told to stop.
//!
//! Opening starts the tasks; `run` owns them and waits for them. A manager that cannot write, or meets an entry that it
//! does not understand, stops by itself and says why.

mod open;

use std::{path::PathBuf, sync::Arc};

use muster_core::command::Founding;
use muster_proto::{
    cluster::ClusterSpec,
    id::{ClusterId, NodeId},
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::open::OpenError;
use crate::{
    ca::ClusterKey,
    dispatcher::sessions::Sessions,
    failure::Failure,
    group::{HandOverError, Succession},
    leases::Leases,
    membership::Attempts,
    outside::Outside,
    preflight::Preflight,
    raft::{Metrics, Raft, backing::Backing, inbox::Inbox, members::Members, standing::Dismissal},
    replica::Replica,
    reports::ReportBatcher,
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
    /// Opens what the state holds under seal.
    pub cluster_key: ClusterKey,
    pub preflight: Arc<dyn Preflight>,
}

/// What a manager begins with.
#[derive(Clone, Debug)]
pub enum Start {
    /// What its folder holds.
    Again,
    /// A new cluster of this one manager. Repeating it after a crash completes what was begun.
    Cluster(Bootstrap),
    /// Nothing, unless it has begun so before: the leader adds it and sends it everything.
    Member,
}

/// What the first entry of a cluster says.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    pub spec: ClusterSpec,
    /// See [`crate::founding::begin`]. None: nobody can join, which is enough for a simulation.
    pub founding: Option<Box<Founding>>,
}

/// What the services of this manager work with.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) config: Config,
    pub(crate) outside: Outside,
    pub(crate) inbox: Inbox,
    pub(crate) members: Members,
    pub(crate) succession: Succession,
    pub(crate) replica: Replica,
    pub(crate) leases: Leases,
    pub(crate) reports: ReportBatcher,
    pub(crate) backing: Backing,
    pub(crate) sessions: Sessions,
    pub(crate) attempts: Attempts,
    /// Closed when the manager stops, before the replica: open streams would hold up the server.
    pub(crate) streams: Streams,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("this manager has stopped: {0}")]
    Failed(Arc<str>),
    /// It has nothing more to do as a manager; its node may.
    #[error(transparent)]
    Dismissed(Dismissal),
}

pub struct Manager {
    handle: Handle,
    raft: Raft,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    failure: Failure,
    dismissed: watch::Receiver<Option<Dismissal>>,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Manager").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl Manager {
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns after a clean stop, or with the reason why this manager cannot go on.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), RunError> {
        let metrics = self.raft.metrics();
        let failed = tokio::select! {
            () = shutdown.cancelled() => None,
            why = dismissal(&mut self.dismissed) => {
                self.close().await;
                return Err(RunError::Dismissed(why));
            }
            // None of them ends by itself, but for a panic.
            Some(ended) = self.tasks.join_next() => {
                Some(ended.err().map_or_else(|| "one of its tasks has ended".to_owned(), |why| why.to_string()))
            }
            why = raft_ended(metrics) => Some(why),
        };
        let failure = self.failure.clone();
        self.close().await;
        match (failed, failure.get()) {
            (None, None) => Ok(()),
            (_, Some(why)) => Err(RunError::Failed(why)),
            (Some(why), None) => Err(RunError::Failed(why.into())),
        }
    }

    /// First whoever proposes, from the outside in, then Raft itself, which closes the log.
    async fn close(mut self) {
        self.handle.streams.close().await;
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        if let Err(why) = self.raft.shutdown().await {
            tracing::error!(error = %why, "the Raft task ended badly");
        }
    }
}

async fn dismissal(dismissed: &mut watch::Receiver<Option<Dismissal>>) -> Dismissal {
    let why = dismissed.wait_for(Option::is_some).await.ok().and_then(|why| *why);
    match why {
        Some(why) => why,
        None => std::future::pending().await,
    }
}

/// Waits until Raft has stopped by itself, and says why.
async fn raft_ended(mut metrics: watch::Receiver<Metrics>) -> String {
    match metrics.wait_for(|now| now.running_state.is_err()).await.as_deref() {
        Ok(Metrics { running_state: Err(fatal), .. }) => fatal.to_string(),
        Ok(_) | Err(_) => "its Raft task has ended".to_owned(),
    }
}

impl Handle {
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where Raft messages of the other managers go.
    #[must_use]
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Who belongs to the managers' Raft group.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Gives leadership to another manager; returns once it leads. To be called before this one stops, while the others
    /// still reach it.
    pub async fn hand_over(&self) -> Result<(), HandOverError> {
        self.succession.hand_over().await
    }

    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    #[must_use]
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Since when this manager can be sure that nobody else led.
    #[must_use]
    pub fn backing(&self) -> &Backing {
        &self.backing
    }

    #[must_use]
    pub fn reports(&self) -> &ReportBatcher {
        &self.reports
    }
}

#[cfg(test)]
mod tests;
